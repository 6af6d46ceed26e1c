"""What views show of batches: order, limits, what is new since the last one, estimates, histograms."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest

from sonde.enrich.duration import UNIT_NS
from sonde.errors import ProbeError
from sonde.records.accounting import Accounting
from sonde.records.model import Column, RecordBatch, Schema
from sonde.views.hist import Hist
from sonde.views.json import JsonWriter
from sonde.views.last import Last
from sonde.views.measures import Delta, additive, scaled
from sonde.views.ranking import Ranking
from sonde.views.rows import ROWS_AT_ONCE
from sonde.views.top import Top
from sonde.views.trace import Trace
from view_batches import COLUMNS, Kept, batch, records, top_rows


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


def test_records_are_shown_until_there_are_enough() -> None:
    kept, asked = Kept(), []
    trace = Trace(kept, columns=("time", "pid"), limit=3, enough=lambda: asked.append(True))
    for numbers in ((1, 2), (), (3, 4, 5), (6,)):
        trace.write(records(*numbers))

    assert [row["pid"] for page in kept.pages for row in page.rows] == [1, 2, 3]
    assert asked == [True]
    assert kept.pages[-1].hidden == 3
