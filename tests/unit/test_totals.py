"""Cumulative series from differences: never back, bounded, with an overflow that says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonde.records.differences import Differences
from sonde.records.metrics import OVERFLOW, Metric, Series
from sonde.records.model import Column, RecordBatch, Schema
from sonde.records.totals import IDLE_NS, Totals

CALLS = Metric("calls", "counter", "{call}", "", "count", attributes={"name": "syscall"})
TIMES = Metric("times", "histogram", "s", "", "buckets", total="sum", maximum="max", factor=1e-9)
SECOND_NS = 1_000_000_000


def batch(
    names: list[str | None], counts: list[int], *, time_ns: int = 1, scale: int = 1, other: int = 0
) -> RecordBatch:
    """Rows of a table; the last ``other`` of them are what found the map full."""
    column = np.empty(len(names), dtype=object)
    column[:] = names
    absent = [name is None for name in names]
    columns: dict[str, Any] = {
        "syscall": np.ma.masked_array(column, mask=absent),
        "count": np.array(counts, dtype=np.uint64),
        "is_other": np.arange(len(names)) >= len(names) - other,
    }
    schema = Schema("t", tuple(Column(name) for name in columns))
    return RecordBatch(schema, columns, time_ns=time_ns, scale=scale)


def counts(series: Series) -> dict[Any, int]:
    """Give {attribute: value}; the overflow is named so."""
    names = series.attributes["name"].tolist()
    if OVERFLOW in series.attributes:
        marks = series.attributes[OVERFLOW].tolist()
        names = ["overflow" if mark else name for name, mark in zip(names, marks, strict=True)]
    return dict(zip(names, series.values.tolist(), strict=True))


def test_differences_add_up_by_attributes() -> None:
    totals = Totals(CALLS)
    totals.add(batch(["read", "write", "read", None], [3, 5, 7, 2]))
    totals.add(batch(["read"], [11]))

    assert counts(totals.series(2)) == {"read": 21, "write": 5, None: 2}


def test_nothing_that_was_added_makes_no_series() -> None:
    totals = Totals(CALLS)
    totals.add(batch(["read", "write"], [0, 5]))

    assert counts(totals.series(2)) == {"write": 5}
    assert counts(Totals(CALLS).series(2)) == {}


def test_a_sampled_count_stands_for_its_scale() -> None:
    totals = Totals(CALLS)
    totals.add(batch(["read"], [3], scale=10))

    assert counts(totals.series(2)) == {"read": 30}


def test_what_is_beyond_the_bound_is_in_one_series_that_says_so() -> None:
    totals = Totals(CALLS, series_max=4)
    totals.add(batch([f"call_{at}" for at in range(10)], list(range(1, 11))))

    found = counts(totals.series(2))
    assert found == {"call_0": 1, "call_1": 2, "call_2": 3, "overflow": 4 + 5 + 6 + 7 + 8 + 9 + 10}
    assert len(totals) == 4
    assert totals.folded == 7


def test_what_found_the_map_full_is_in_the_overflow() -> None:
    totals = Totals(CALLS)
    totals.add(batch(["read", "other"], [3, 5], other=1))

    assert counts(totals.series(2)) == {"read": 3, "overflow": 5}


def test_a_series_begins_at_the_read_before_its_first_count() -> None:
    totals = Totals(CALLS, clock_ns=lambda: 100)
    totals.add(batch(["read"], [1], time_ns=200))
    totals.add(batch(["read", "write"], [1, 1], time_ns=300))

    series = totals.series(300)
    assert dict(zip(series.attributes["name"].tolist(), series.start_ns.tolist(), strict=True)) == {
        "read": 100,
        "write": 200,
    }


def test_an_idle_series_gives_its_place_to_a_new_one_and_its_count_to_the_overflow() -> None:
    totals = Totals(CALLS, series_max=3)
    totals.add(batch(["read", "write"], [3, 5], time_ns=SECOND_NS))
    totals.add(batch(["write"], [1], time_ns=SECOND_NS + IDLE_NS))
    totals.add(batch(["close"], [7], time_ns=2 * SECOND_NS + IDLE_NS))

    assert counts(totals.series(2)) == {"write": 6, "close": 7, "overflow": 3}


def test_a_place_is_taken_away_from_no_series_of_the_same_batch() -> None:
    totals = Totals(CALLS, series_max=3)
    totals.add(batch(["read", "write"], [3, 5], time_ns=SECOND_NS))
    totals.add(batch(["read", "close", "open"], [10, 7, 1], time_ns=2 * SECOND_NS + IDLE_NS))

    assert counts(totals.series(2)) == {"read": 13, "close": 7, "overflow": 5 + 1}


def test_series_of_what_has_ended_end_once_they_are_idle() -> None:
    now = [10 * SECOND_NS]
    totals = Totals(CALLS, clock_ns=lambda: now[0])
    totals.add(batch(["read", "write"], [3, 5], time_ns=10 * SECOND_NS))

    assert totals.end_where(lambda attributes: attributes["name"] == "read", idle_ns=SECOND_NS) == 0
    now[0] = 12 * SECOND_NS
    assert totals.end_where(lambda attributes: attributes["name"] == "read", idle_ns=SECOND_NS) == 1
    assert counts(totals.series(2)) == {"write": 5}
    totals.add(batch(["read"], [2], time_ns=now[0]))
    assert counts(totals.series(2)) == {"write": 5, "read": 2}


def test_a_histogram_adds_up_bucket_by_bucket_with_sum_and_maximum() -> None:
    def rows(buckets: list[list[int]], sums: list[int], maxima: list[int]) -> RecordBatch:
        columns: dict[str, Any] = {
            "buckets": np.array(buckets, dtype=np.uint64),
            "sum": np.ma.masked_array(np.array(sums, dtype=np.uint64), mask=[not each for each in sums]),
            "max": np.ma.masked_array(np.array(maxima, dtype=np.uint64), mask=[not each for each in sums]),
        }
        return RecordBatch(Schema("t", tuple(Column(name) for name in columns)), columns, time_ns=1)

    totals = Totals(TIMES)
    totals.add(rows([[1, 2, 0], [0, 0, 0]], [9, 0], [5, 0]))
    totals.add(rows([[0, 1, 4]], [90], [70]))

    series = totals.series(2)
    assert series.values.tolist() == [[1, 3, 4]]
    assert series.totals is not None
    assert series.totals.tolist() == [99]
    assert series.maxima is not None
    assert series.maxima.tolist() == [70]


def test_a_snapshot_does_not_change_with_later_additions() -> None:
    totals = Totals(CALLS)
    totals.add(batch(["read"], [3]))
    before = totals.series(2)
    totals.add(batch(["read"], [4]))

    assert counts(before) == {"read": 3}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from("abcdefghij"), st.integers(0, 1000)), max_size=20), max_size=20
    ),
    st.integers(1, 12),
)
def test_no_count_is_lost_whatever_the_bound(reads: list[list[tuple[str, int]]], series_max: int) -> None:
    totals = Totals(CALLS, series_max=series_max)
    for at, rows in enumerate(reads):
        names: list[str | None] = [name for name, _ in rows]
        totals.add(batch(names, [count for _, count in rows], time_ns=at * IDLE_NS))

    series = totals.series(1)
    assert series.values.sum() == sum(count for rows in reads for _, count in rows)
    assert len(series) <= series_max


def test_a_clock_that_is_set_back_leaves_no_count_that_begins_after_it_was_read() -> None:
    totals = Totals(CALLS, clock_ns=lambda: 50 * SECOND_NS)
    totals.add(batch(["read"], [1], time_ns=60 * SECOND_NS))
    totals.shift(-40 * SECOND_NS)
    totals.add(batch(["read", "write"], [1, 1], time_ns=30 * SECOND_NS))

    assert totals.series(30 * SECOND_NS).start_ns.tolist() == [10 * SECOND_NS, 20 * SECOND_NS]


KEY = np.dtype([("pid", "u4"), ("call", "u4")])
VALUE = np.dtype([("count", "u8"), ("max", "u8"), ("buckets", "u8", (2,))])
COLUMNS = (Column("count"), Column("max", "sonde_max_ns_t"), Column("buckets"))


def table(rows: dict[tuple[int, int], tuple[int, int, list[int]]]) -> tuple[Any, Any]:
    """Make a table's arrays."""
    return np.array(list(rows), dtype=KEY), np.array([(a, b, c) for a, b, c in rows.values()], dtype=VALUE)


def test_differences_are_of_changed_rows_only() -> None:
    differences = Differences(COLUMNS)
    differences.of(*table({(1, 1): (5, 50, [2, 3]), (2, 1): (1, 10, [1, 0])}))
    keys, values = differences.of(
        *table({(2, 1): (1, 10, [1, 0]), (1, 1): (9, 60, [2, 7]), (3, 1): (4, 1, [4, 0])})
    )

    assert keys.tolist() == [(1, 1), (3, 1)]
    assert values["count"].tolist() == [4, 4]
    assert values["max"].tolist() == [60, 1]
    assert values["buckets"].tolist() == [[0, 4], [4, 0]]


def test_a_row_that_left_the_table_is_forgotten() -> None:
    differences = Differences(COLUMNS)
    differences.of(*table({(1, 1): (5, 50, [5, 0])}))
    differences.of(*table({}))
    _, values = differences.of(*table({(1, 1): (2, 3, [2, 0])}))

    assert values["count"].tolist() == [2]


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_differences_over_many_reads_add_up_to_the_last(rows: int) -> None:
    random = np.random.default_rng(7)
    differences = Differences(COLUMNS)
    keys, values = np.zeros(rows, KEY), np.zeros(rows, VALUE)
    keys["pid"] = random.permutation(rows)
    added = np.zeros(rows, np.uint64)
    for _ in range(5):
        values["count"] += random.integers(0, 3, rows, dtype=np.uint64)
        order = random.permutation(rows)
        changed, difference = differences.of(keys[order], values[order])
        at = np.zeros(len(changed), np.intp)
        if rows:
            at = np.argsort(keys["pid"])[changed["pid"]]
        added[at] += difference["count"]

    assert added.tolist() == values["count"].tolist()
