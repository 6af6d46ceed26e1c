"""Rows that have left the kernel: kept in little room, and given back as they were."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from sonde.records import retired_rows
from sonde.records.model import Column
from sonde.records.retired_rows import RetiredRows

KEY = np.dtype([("pid", "u4"), ("number", "u4")])
VALUE = np.dtype([("sum_ns", "u8"), ("signed", "i4"), ("comm", "u1", 16), ("buckets", "u8", 88)])
COLUMNS = (
    Column("sum_ns", "sonde_duration_ns_t"),
    Column("signed"),
    Column("comm", "sonde_comm_t"),
    Column("buckets", "sonde_bucket_t"),
)
ALL = slice(None)


def rows(seed: int, count: int, *, most: int = 2**64 - 1) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    keys, values = np.zeros(count, KEY), np.zeros(count, VALUE)
    keys["pid"] = random.integers(0, 2**32, count)
    values["sum_ns"] = random.integers(0, 2**64, count, dtype=np.uint64)
    values["signed"] = random.integers(-(2**31), 2**31, count)
    values["comm"] = random.integers(0, 256, (count, 16))
    values["buckets"] = random.integers(0, most, (count, 88), dtype=np.uint64, endpoint=True)
    return keys, values


@pytest.mark.parametrize("most", [0, 255, 256, 2**16, 2**32 - 1, 2**32, 2**64 - 1])
def test_they_come_back_as_they_were(most: int) -> None:
    made = RetiredRows(VALUE, COLUMNS)
    first, second, now = rows(1, 50, most=most), rows(2, 7, most=most), rows(3, 20, most=most)
    made.add(*first, ALL)
    made.add(*second, ALL)

    keys, values = made.before(*now, np.array([0, 4, 19]))

    assert len(made) == 57
    assert np.array_equal(keys, np.concatenate([first[0], second[0], now[0][[0, 4, 19]]]))
    assert np.array_equal(values, np.concatenate([first[1], second[1], now[1][[0, 4, 19]]]))
    assert values.dtype == VALUE


def test_those_that_are_chosen_are_kept() -> None:
    made = RetiredRows(VALUE, COLUMNS)
    keys, values = rows(1, 50)
    made.add(keys, values, keys["pid"] % 2 == 0)

    found = made.before(keys, values, np.flatnonzero(keys["pid"] % 2))

    order = np.argsort(keys["pid"] % 2, kind="stable")
    assert np.array_equal(found[0], keys[order])
    assert np.array_equal(found[1], values[order])


def test_where_none_are_kept_nothing_is_copied() -> None:
    made = RetiredRows(VALUE, COLUMNS)
    keys, values = rows(1, 5)

    assert made.before(keys, values)[1] is values
    assert np.array_equal(made.before(keys, values, np.array([3]))[1], values[[3]])


def test_the_oldest_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retired_rows, "ROWS_KEPT_MAX", 60)
    made = RetiredRows(VALUE, COLUMNS)
    parts = [rows(seed, 25, most=1000) for seed in range(5)]
    for part in parts:
        made.add(*part, ALL)

    assert len(made) == 50
    assert len(made.folded) == 1
    expected = np.concatenate([values["buckets"] for _, values in parts[:3]]).sum(axis=0)
    assert np.array_equal(made.folded["buckets"][0], expected)


def test_a_histogram_of_few_calls_takes_little_room() -> None:
    made = RetiredRows(VALUE, COLUMNS)
    made.add(*rows(1, 1000, most=200), ALL)

    ((_, members),) = made._parts
    assert members["buckets"].nbytes == 1000 * 88
