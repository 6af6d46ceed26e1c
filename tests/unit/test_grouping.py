"""Rows that are alike become one."""

from __future__ import annotations

import numpy as np

from sonde.records.fold import fold_cpus
from sonde.records.grouping import grouped
from sonde.records.model import Column, RecordBatch, Schema

COLUMNS = (
    Column("place", "", is_key=True),
    Column("detail", "", is_key=True),
    Column("count"),
    Column("last_seen", "sonde_moment_t"),
    Column("name", "sonde_comm_t"),
    Column("is_other", "sonde_other_t"),
)


def test_counts_are_added_and_the_latest_stays() -> None:
    """What has no place is alike, too; the row of all others is one of its own."""
    batch = RecordBatch(
        Schema("made.up", COLUMNS),
        {
            "place": np.ma.masked_array(
                np.array(["a", "b", "a", "", "", ""], object), mask=[0, 0, 0, 1, 1, 1]
            ),
            "detail": np.arange(6),
            "count": np.array([1, 2, 4, 8, 16, 32], np.uint64),
            "last_seen": np.array([5, 7, 3, 1, 2, 9]),
            "name": np.array(["x", "y", "z", "", "", "other"], object),
            "is_other": np.array([False] * 5 + [True]),
        },
    )
    found = grouped(batch, ("place",), ("count", "last_seen", "name"))
    assert list(found.rows()) == [
        {"place": "a", "count": 5, "last_seen": 5, "name": "x", "is_other": False},
        {"place": "b", "count": 2, "last_seen": 7, "name": "y", "is_other": False},
        {"place": None, "count": 24, "last_seen": 2, "name": "", "is_other": False},
        {"place": None, "count": 32, "last_seen": 9, "name": "other", "is_other": True},
    ]
    assert [column.name for column in found.schema.columns if column.is_key] == ["place"]
    assert len(grouped(batch.picking(slice(0, 0)), ("place",), ("count",))) == 0


def test_values_of_cpus_become_one() -> None:
    kind = np.dtype(
        [("count", "u8"), ("last_ns", "u8"), ("first_ns", "u8"), ("name", "S4"), ("buckets", "u8", 2)]
    )
    rows = np.array(
        [
            [(1, 50, 0, b"", (1, 0)), (2, 40, 30, b"eth0", (0, 2))],
            [(3, 0, 20, b"lo", (3, 0)), (0, 0, 0, b"", (0, 0))],
        ],
        kind,
    )
    columns = (
        Column("count"),
        Column("last_ns", "sonde_last_ns_t"),
        Column("first_ns", "sonde_first_ns_t"),
        Column("name"),
        Column("buckets", "sonde_bucket_t"),
    )
    one = fold_cpus(rows, columns)
    assert one[["count", "last_ns", "first_ns", "name"]].tolist() == [(3, 50, 30, b"eth0"), (3, 0, 20, b"lo")]
    assert one["buckets"].tolist() == [[1, 2], [3, 0]]


def test_the_smallest_of_rows_is_the_smallest_of_those_that_have_one() -> None:
    """0 is none: a row whose blocks are not over has no smallest; nor has a group of such rows."""
    columns = {
        "place": np.array([1, 1, 1, 2]),
        "min_ns": np.array([7, 0, 5, 0], np.uint64),
        "first_seen_ns": np.array([30, 20, 40, 10], np.uint64),
        "is_other": np.zeros(4, bool),
    }
    meanings = {"min_ns": "sonde_min_ns_t", "first_seen_ns": "sonde_first_ns_t"}
    schema = Schema("a.b", tuple(Column(name, meanings.get(name, "")) for name in columns))
    found = grouped(RecordBatch(schema, columns), ("place",), ("min_ns", "first_seen_ns"))

    assert found["min_ns"].tolist() == [5, 0]
    assert found["first_seen_ns"].tolist() == [20, 10]


def test_flags_of_rows_are_all_that_any_of_them_has() -> None:
    columns = {
        "place": np.array([2, 1, 2]),
        "flags": np.array([0b001, 0b100, 0b011], np.uint32),
        "is_other": np.zeros(3, bool),
    }
    schema = Schema("a.b", (Column("place"), Column("flags", "sonde_tcp_flags_t"), Column("is_other")))
    found = grouped(RecordBatch(schema, columns), ("place",), ("flags",))

    assert found["flags"].tolist() == [0b011, 0b100]
