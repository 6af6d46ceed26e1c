"""Rows that are added up into one keep their sum, their largest and their newest."""

from __future__ import annotations

import numpy as np

from sonde.records.fold import fold
from sonde.records.model import Column

COLUMNS = (
    Column("duration_sum_ns", "sonde_duration_ns_t"),
    Column("duration_max_ns", "sonde_max_ns_t"),
    Column("untimed"),
    Column("first_seen_ns", "sonde_first_ns_t"),
    Column("comm", "sonde_comm_t"),
    Column("duration_buckets", "sonde_bucket_t"),
)
LAYOUT = np.dtype(
    [
        ("duration_sum_ns", "<u8"),
        ("duration_max_ns", "<u8"),
        ("untimed", "<u8"),
        ("first_seen_ns", "<u8"),
        ("comm", "S16"),
        ("duration_buckets", "<u8", (3,)),
    ]
)


def rows() -> np.ndarray:
    made = np.zeros(3, LAYOUT)
    made["duration_sum_ns"] = (101, 103, 107)
    made["duration_max_ns"] = (11, 17, 13)
    made["untimed"] = (1, 0, 2)
    made["comm"] = (b"one", b"two", b"three")
    made["duration_buckets"] = ((1, 2, 3), (5, 7, 11), (13, 17, 19))
    return made


def test_counts_sums_and_buckets_are_added() -> None:
    (one,) = fold(rows(), COLUMNS)

    assert one["duration_sum_ns"] == 311
    assert one["untimed"] == 3
    assert one["duration_buckets"].tolist() == [19, 26, 33]


def test_a_maximum_stays_a_maximum() -> None:
    (one,) = fold(rows(), COLUMNS)

    assert one["duration_max_ns"] == 17


def test_text_is_the_last_rows() -> None:
    (one,) = fold(rows(), COLUMNS)

    assert one["comm"] == b"three"


def test_folding_in_steps_is_folding_at_once() -> None:
    """What was folded is a row like another: weeks of it end in the same numbers."""
    first, last = rows()[:2], rows()[2:]
    in_steps = fold(np.concatenate([fold(first, COLUMNS), last]), COLUMNS)

    assert in_steps.tobytes() == fold(rows(), COLUMNS).tobytes()


def test_a_minimum_is_of_those_that_have_one() -> None:
    """0 is none."""
    values = np.array([(7,), (0,), (5,)], [("min_ns", "<u8")])
    column = (Column("min_ns", "sonde_min_ns_t"),)

    assert fold(values, column)["min_ns"].tolist() == [5]
    assert fold(values[1:2], column)["min_ns"].tolist() == [0]
