"""What views show of batches: order, limits, what is new since the last one, estimates, histograms."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from sonde.enrich.duration import UNIT_NS
from sonde.errors import ProbeError
from sonde.records.accounting import Accounting
from sonde.records.model import Column, RecordBatch, Schema
from sonde.views.csv import CsvWriter
from sonde.views.hist import Hist
from sonde.views.json import JsonWriter
from sonde.views.last import Last
from sonde.views.measures import Delta, additive, scaled
from sonde.views.page import Page
from sonde.views.ranking import Ranking
from sonde.views.rows import ROWS_AT_ONCE
from sonde.views.top import Top
from sonde.views.trace import Trace

SCHEMA = Schema(
    "test.latency",
    (
        Column("pid", "sonde_pid_t", is_key=True),
        Column("syscall", "sonde_syscall_t", is_key=True),
        Column("comm", "sonde_comm_t"),
        Column("count"),
        Column("duration_sum_ns"),
        Column("duration_max_ns", "sonde_max_ns_t"),
        Column("duration_buckets", "sonde_bucket_t"),
        Column("duration_p50_ns"),
        Column("duration_p99_ns"),
        Column("is_other", "sonde_other_t"),
    ),
)
BUCKETS = 88
COLUMNS = (
    "pid",
    "comm",
    "syscall",
    "count",
    "duration_sum_ns",
    "duration_p50_ns",
    "duration_p99_ns",
    "duration_max_ns",
)


def batch(
    *rows: tuple[int, str, dict[int, int]], other: dict[int, int] | None = None, **more: Any
) -> RecordBatch:
    """Make a batch as the probe ``syscalls`` gives it; rows are pid, call, and counts by bucket."""
    all_rows = [*rows, *([(0, "other", other)] if other is not None else [])]
    buckets = np.zeros((len(all_rows), BUCKETS), np.uint64)
    for at, (_, _, counts) in enumerate(all_rows):
        for bucket, count in counts.items():
            buckets[at, bucket] = count
    counts = buckets.sum(axis=1, dtype=np.uint64)
    upper = np.exp2((np.arange(BUCKETS) + 1) / 2) * UNIT_NS
    largest = np.array([int(upper[max(row[2])]) if row[2] else 0 for row in all_rows], np.uint64)
    is_other = np.arange(len(all_rows)) >= len(rows)
    columns: dict[str, Any] = {
        "pid": np.ma.masked_array([row[0] for row in all_rows], mask=is_other, dtype=np.uint32),
        "syscall": np.array([row[1] for row in all_rows], dtype=object),
        "comm": np.array([f"p{row[0]}" for row in all_rows], dtype=object),
        "count": counts,
        "duration_sum_ns": np.ma.masked_array(counts * 1000, mask=counts == 0),
        "duration_max_ns": np.ma.masked_array(largest, mask=counts == 0),
        "duration_buckets": buckets,
        "duration_p50_ns": np.ma.masked_array(largest, mask=counts == 0),
        "duration_p99_ns": np.ma.masked_array(largest, mask=counts == 0),
        "is_other": is_other,
    }
    return RecordBatch(
        SCHEMA, columns, more.pop("accounting", Accounting()), 1_751_371_200_000_000_000, **more
    )


class Kept:
    """A writer that keeps what it is given."""

    def __init__(self) -> None:
        self.pages: list[Page] = []
        self.accounting: Accounting | None = None

    def write(self, page: Page) -> None:
        self.pages.append(page)

    def close(self, accounting: Accounting) -> None:
        self.accounting = accounting


def top_rows(*batches: RecordBatch, sort: str = "count", limit: int = 0, delta: bool = False) -> list[Page]:
    kept = Kept()
    top = Top(kept, columns=COLUMNS, ranking=Ranking(sort, limit), delta=delta)
    for each in batches:
        top.write(each)
    return kept.pages


def test_the_largest_row_comes_first_and_other_last() -> None:
    (page,) = top_rows(batch((1, "read", {4: 5}), (2, "read", {4: 50}), (3, "read", {4: 7}), other={4: 999}))

    assert [row["pid"] for row in page.rows] == [2, 3, 1, None]
    assert page.rows[-1]["is_other"]


def test_text_is_sorted_from_a_to_z_and_unknown_values_come_last() -> None:
    given = batch((1, "write", {}), (2, "read", {4: 1}), (3, "openat", {6: 1}))

    assert [row["syscall"] for row in top_rows(given, sort="syscall")[0].rows] == ["openat", "read", "write"]
    assert [row["pid"] for row in top_rows(given, sort="duration_max_ns")[0].rows] == [3, 2, 1]


def test_equal_rows_keep_their_order() -> None:
    given = batch(*((pid, "read", {4: 3}) for pid in range(1, 8)))

    assert [row["pid"] for row in top_rows(given)[0].rows] == list(range(1, 8))


def test_a_limit_tells_how_many_rows_it_hides_and_keeps_other() -> None:
    given = batch(*((pid, "read", {4: pid}) for pid in range(1, 8)), other={4: 1})
    (page,) = top_rows(given, limit=2)

    assert [row["pid"] for row in page.rows] == [7, 6, None]
    assert page.hidden == 5


def test_no_rows_are_a_page_without_rows() -> None:
    (page,) = top_rows(batch())

    assert (list(page.rows), page.hidden) == ([], 0)


def test_rows_are_made_when_they_are_asked_for_and_are_always_the_same() -> None:
    """More of them than are made at once, from either end, and some."""
    count = 2 * ROWS_AT_ONCE + 1
    given = batch(*((pid, "read", {4: 1}) for pid in range(count)))
    (page,) = top_rows(given)
    all_rows = list(page.rows)

    assert [row["pid"] for row in all_rows] == list(range(count))
    assert len(page.rows) == count
    assert [page.rows[0], page.rows[-1]] == [all_rows[0], all_rows[-1]]
    assert list(page.rows[ROWS_AT_ONCE - 1 :]) == all_rows[ROWS_AT_ONCE - 1 :]
    assert all_rows[0] in page.rows
    with pytest.raises(IndexError):
        page.rows[count]


def test_rows_in_json_are_as_many_as_there_are() -> None:
    count = 2 * ROWS_AT_ONCE + 1
    file = io.StringIO()
    given = batch(*((pid, "read", {4: 1}) for pid in range(count)))
    Top(JsonWriter(file), columns=COLUMNS, ranking=Ranking("count")).write(given)

    assert [json.loads(line)["pid"] for line in file.getvalue().splitlines()] == list(range(count))


def test_counts_sums_and_buckets_add_up_and_nothing_else_does() -> None:
    assert additive(batch((1, "read", {4: 1}))) == ("count", "duration_sum_ns", "duration_buckets")


def test_sampled_totals_are_multiplied_and_quantiles_are_not() -> None:
    given = batch((1, "read", {4: 3}), scale=100)
    estimate = scaled(given)

    assert estimate["count"].tolist() == [300]
    assert estimate["duration_sum_ns"].tolist() == [300_000]
    assert estimate["duration_p50_ns"].tolist() == given["duration_p50_ns"].tolist()


def test_a_delta_holds_what_is_new_and_leaves_out_what_is_not() -> None:
    before = batch((1, "read", {4: 5}), (2, "read", {4: 1}))
    after = batch((2, "read", {4: 1}), (1, "read", {4: 5, 8: 2}), (3, "write", {4: 4}))
    first, second = top_rows(before, after, delta=True)

    assert [(row["pid"], row["count"]) for row in first.rows] == [(1, 5), (2, 1)]
    assert [(row["pid"], row["count"]) for row in second.rows] == [(3, 4), (1, 2)]


def test_quantiles_of_a_delta_are_those_of_its_own_calls() -> None:
    """A thousand fast calls before must not hide a slow one now."""
    delta = Delta()
    delta(batch((1, "read", {4: 1000})))
    row = next(iter(delta(batch((1, "read", {4: 1000, 40: 1}))).rows()))

    assert row["count"] == 1
    assert 2**20 * UNIT_NS < row["duration_p50_ns"] <= 2**20.5 * UNIT_NS


def test_the_largest_of_a_delta_is_exact_when_it_is_new_and_else_its_buckets_bound() -> None:
    delta = Delta()
    delta(batch((1, "read", {40: 1})))
    grown = next(iter(delta(batch((1, "read", {40: 1, 44: 1}))).rows()))
    lower = next(iter(delta(batch((1, "read", {4: 1, 40: 1, 44: 1}))).rows()))

    assert grown["duration_max_ns"] == int(2**22.5 * UNIT_NS)
    assert lower["duration_max_ns"] == int(2**2.5 * UNIT_NS)


def test_rows_that_were_folded_into_other_are_not_counted_twice() -> None:
    """The deltas add up to the difference of the totals, although a row went away."""
    delta = Delta()
    before = batch((1, "read", {4: 5}), (2, "read", {4: 7}), other={4: 1})
    after = batch((2, "read", {4: 9}), other={4: 1 + 5 + 3})
    delta(before)
    rows = list(delta(after).rows())

    assert {row["pid"]: row["count"] for row in rows} == {2: 2, None: 3}
    assert sum(row["count"] for row in rows) == int(after["count"].sum() - before["count"].sum())


def test_only_the_end_is_passed_on_when_only_the_end_is_wanted() -> None:
    kept = Kept()
    sink = Last(Top(kept, columns=COLUMNS, ranking=Ranking("count")))
    sink.write(batch((1, "read", {4: 1})))
    sink.write(batch((1, "read", {4: 2}), accounting=Accounting(final=True)))
    sink.close(Accounting(seen=2, final=True))

    assert [[row["count"] for row in page.rows] for page in kept.pages] == [[2]]
    assert kept.accounting == Accounting(seen=2, final=True)


# ---- histograms ------------------------------------------------------------------------------------------------


def histograms(given: RecordBatch, *by: str, **options: Any) -> list[dict[str, Any]]:
    kept = Kept()
    Hist(kept, by=by, **options).write(given)
    return list(kept.pages[0].rows)


def test_rows_of_one_group_are_one_histogram() -> None:
    given = batch((1, "read", {20: 3, 22: 1}), (2, "read", {20: 4}), (1, "write", {30: 2}))
    read, write = histograms(given, "syscall")

    assert (read["syscall"], read["count"], read["counts"]) == ("read", 8, [7, 0, 1])
    assert read["bounds_ns"] == pytest.approx([2**at * UNIT_NS for at in (10, 10.5, 11, 11.5)])
    assert (write["syscall"], write["count"]) == ("write", 2)


def test_histograms_are_ranked_and_limited() -> None:
    given = batch(*((pid, "read", {20: pid}) for pid in range(1, 6)))

    assert [row["pid"] for row in histograms(given, "pid", limit=2)] == [5, 4]


def test_all_rows_can_be_one_histogram() -> None:
    (row,) = histograms(batch((1, "read", {20: 3}), (2, "write", {21: 4}), other={20: 1}))

    assert row["counts"] == [4, 4]


def test_the_first_bucket_begins_at_zero_because_it_takes_zero_too() -> None:
    assert histograms(batch((1, "read", {0: 1})), "pid")[0]["bounds_ns"] == pytest.approx(
        [0, 2**0.5 * UNIT_NS]
    )


def test_a_flat_histogram_has_a_row_for_each_bucket() -> None:
    rows = histograms(batch((1, "read", {20: 3, 21: 1})), "syscall", flat=True)

    assert [(row["syscall"], row["count"]) for row in rows] == [("read", 3), ("read", 1)]
    assert [round(row["above_ns"]) for row in rows] == [954, 1349]


def test_groups_without_any_duration_are_left_out() -> None:
    assert histograms(batch((1, "exit_group", {})), "syscall") == []


def test_a_table_without_histogram_says_so() -> None:
    schema = Schema("test.counts", (Column("pid", is_key=True), Column("count")))
    given = RecordBatch(schema, {"pid": np.array([1]), "count": np.array([1])})

    with pytest.raises(
        ProbeError, match=r"draw a histogram of test.counts: it has none: sonde top shows its rows"
    ):
        histograms(given, "pid")


# ---- streams ---------------------------------------------------------------------------------------------------


def records(*numbers: int) -> RecordBatch:
    schema = Schema(
        "test.calls", (Column("time"), Column("pid", "sonde_pid_t"), Column("args", "sonde_argument_t"))
    )
    columns = {
        "time": np.array(numbers, np.int64),
        "pid": np.array(numbers, np.uint32),
        "args": np.array([[1, 2]] * len(numbers), np.uint64),
    }
    return RecordBatch(schema, columns, Accounting(), 0)


def test_records_are_shown_until_there_are_enough() -> None:
    kept, asked = Kept(), []
    trace = Trace(kept, columns=("time", "pid"), limit=3, enough=lambda: asked.append(True))
    for numbers in ((1, 2), (), (3, 4, 5), (6,)):
        trace.write(records(*numbers))

    assert [row["pid"] for page in kept.pages for row in page.rows] == [1, 2, 3]
    assert asked == [True]
    assert kept.pages[-1].hidden == 3


# ---- formats for machines --------------------------------------------------------------------------------------


def json_lines(*pages: Page, accounting: Accounting | None = None) -> list[Any]:
    file = io.StringIO()
    writer = JsonWriter(file)
    for page in pages:
        writer.write(page)
    if accounting is not None:
        writer.close(accounting)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_a_row_of_json_has_its_time_first_and_null_for_what_is_unknown() -> None:
    (page,) = top_rows(batch((7, "exit", {})))
    (row,) = json_lines(page)

    assert list(row) == ["time", *COLUMNS]
    assert row["time"] == "2025-07-01T12:00:00.000000000Z"
    assert (row["pid"], row["count"], row["duration_sum_ns"]) == (7, 0, None)


def test_the_row_of_other_says_that_it_is_one() -> None:
    (page,) = top_rows(batch((7, "read", {4: 1}), other={4: 2}))

    assert ["is_other" in row for row in json_lines(page)] == [False, True]


def test_estimates_carry_their_rate() -> None:
    (page,) = top_rows(batch((7, "read", {4: 3}), scale=10))
    (row,) = json_lines(page)

    assert (row["count"], row["sampled_1_in"]) == (30, 10)


def test_the_last_line_of_json_is_the_accounting() -> None:
    accounting = Accounting(
        seen=9, delivered=3, filtered=2, lost={"ring_full": 4, "map_full": 0}, in_flight=1, final=True
    )

    assert json_lines(accounting=accounting) == [
        {
            "accounting": {
                "seen": 9, "delivered": 3, "aggregated": 0, "filtered": 2, "sampled_out": 0,
                "lost": {"ring_full": 4}, "in_flight": 1,
            }
        }
    ]  # fmt: skip


def test_a_record_has_its_own_time() -> None:
    kept = Kept()
    Trace(kept, columns=("time", "pid", "args")).write(records(1_000_000_001))

    assert json_lines(*kept.pages) == [
        {"time": "1970-01-01T00:00:01.000000001Z", "pid": 1_000_000_001, "args": [1, 2]}
    ]


def test_names_that_are_no_text_are_still_json() -> None:
    (page,) = top_rows(batch((7, b'\xff\x1b"'.decode(errors="surrogateescape"), {4: 1})))
    (row,) = json_lines(page)

    assert row["syscall"] == '\ufffd\x1b"'


def test_csv_has_a_header_and_the_accounting_beside_it() -> None:
    (page,) = top_rows(batch((7, 'a,"b', {4: 1}), (8, "read", {})))
    file, notes = io.StringIO(), list[str]()
    writer = CsvWriter(file, COLUMNS, notes.append)
    writer.write(page)
    writer.close(Accounting(seen=1, aggregated=1, final=True))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))

    assert [(row["pid"], row["syscall"], row["duration_sum_ns"]) for row in rows] == [
        ("7", 'a,"b', "1000"),
        ("8", "read", ""),
    ]
    assert notes == ["seen 1 = aggregated 1 + lost 0"]
