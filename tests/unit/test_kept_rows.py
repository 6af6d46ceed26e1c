"""Rows that were read out of the kernel: added up by key, within a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sonde.records.alike import fold_alike
from sonde.records.kept_rows import KeptRows
from sonde.records.model import Column

KEY = np.dtype([("pid", "u4"), ("padding", "u4")])
Together = Callable[["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"], "np.ndarray[Any, Any]"]
VALUE = np.dtype([("count", "u8"), ("first_seen_ns", "u8"), ("wait_max_ns", "u8")])
COLUMNS = (
    Column("count"),
    Column("first_seen_ns", "sonde_first_ns_t"),
    Column("wait_max_ns", "sonde_max_ns_t"),
)


def kept(*, rows_max: int = 100, together: Together | None = None) -> KeptRows:
    return KeptRows(KEY, VALUE, COLUMNS, weight="count", rows_max=rows_max, together=together)


def add(rows: KeptRows, *added: tuple[int, int, int, int]) -> None:
    """Add rows: pid, count, first, maximum."""
    keys = np.array([(pid, 0) for pid, *_ in added], KEY)
    rows.add(keys, np.array([tuple(values) for _, *values in added], VALUE))


def by_pid(rows: KeptRows) -> dict[int, tuple[int, ...]]:
    keys, values = rows.rows()
    return dict(zip(keys["pid"].tolist(), values.tolist(), strict=True))


def test_a_key_that_comes_again_is_added_up_as_its_members_say() -> None:
    """Counts are added, the first time is the earliest, a maximum the largest."""
    rows = kept()
    add(rows, (1, 5, 100, 7), (2, 1, 90, 3))
    add(rows, (3, 2, 120, 1), (1, 4, 110, 9))
    add(rows)

    assert by_pid(rows) == {1: (9, 100, 9), 2: (1, 90, 3), 3: (2, 120, 1)}
    assert len(rows.folded) == 0


def test_what_was_given_stays_as_it_is() -> None:
    """A batch that was read does not change with the next one."""
    rows = kept()
    add(rows, (1, 5, 100, 7))
    _, values = rows.rows()
    add(rows, (1, 5, 100, 7))

    assert values["count"].tolist() == [5]


def test_beyond_the_bound_the_least_are_folded() -> None:
    """Those with the largest weight stay, the others are one row; the sum stays what it was."""
    rows = kept(rows_max=8)
    add(rows, *((pid, pid, 1000 - pid, pid) for pid in range(1, 10)))

    assert sorted(by_pid(rows)) == [4, 5, 6, 7, 8, 9]
    assert rows.folded.tolist() == [(1 + 2 + 3, 997, 3)]
    add(rows, (1, 50, 5, 5), (9, 1, 5, 5))
    assert by_pid(rows)[1] == (50, 5, 5)
    assert by_pid(rows)[9] == (10, 5, 9)


def test_it_is_bounded_however_much_comes() -> None:
    """Weeks of keys that never come again leave as many rows, and lose no count."""
    rows = kept(rows_max=64)
    for turn in range(200):
        add(rows, *((turn * 10 + each, 1, turn + 1, 1) for each in range(10)))

    _, values = rows.rows()
    assert len(rows) <= 64
    assert int(values["count"].sum()) + int(rows.folded["count"][0]) == 2000


def test_beyond_the_bound_rows_lose_whose_they_are_first() -> None:
    """Those that are alike without that are one row then; only where this is not enough the least are folded."""
    rows = kept(rows_max=20, together=lambda keys, _: nobodys(keys))
    for pid in range(1, 101):
        add(rows, (pid, 1, 1000 - pid, pid))

    found = by_pid(rows)
    assert len(rows.folded) == 0
    assert sum(count for count, *_ in found.values()) == 100
    assert sum(found[pid][0] for pid in found if pid >= NOBODYS) > 70
    assert len([pid for pid in found if pid >= NOBODYS]) == 3
    assert min(first for _, first, _ in found.values()) == 900
    assert max(most for *_, most in found.values()) == 100


def test_rows_that_stay_different_are_folded_all_the_same() -> None:
    rows = kept(rows_max=20, together=lambda keys, _: keys)
    for pid in range(1, 101):
        add(rows, (pid, pid, 1, 1))

    assert len(rows) <= 20
    assert sum(count for count, *_ in by_pid(rows).values()) + int(rows.folded["count"][0]) == 5050
    assert 100 in by_pid(rows)


NOBODYS = 1_000_000


def nobodys(keys: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Three keys for all."""
    keys = keys.copy()
    keys["pid"] = NOBODYS + keys["pid"] % 3
    return keys


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)), max_size=20
    )
)
def test_alike_rows_become_what_adding_one_by_one_makes_of_them(
    added: list[tuple[int, int, int, int]],
) -> None:
    one_by_one = kept()
    for each in added:
        add(one_by_one, each)
    keys = np.array([(pid, 0) for pid, *_ in added], KEY)
    values = np.array([tuple(values) for _, *values in added], VALUE)
    keys, values = fold_alike(keys, values, COLUMNS)

    assert dict(zip(keys["pid"].tolist(), values.tolist(), strict=True)) == by_pid(one_by_one)
