"""Batches as the probe ``syscalls`` gives them, and what views make of them, kept."""

from __future__ import annotations

from typing import Any

import numpy as np

from sonde.enrich.duration import UNIT_NS
from sonde.records.accounting import Accounting
from sonde.records.model import Column, RecordBatch, Schema
from sonde.views.page import Page
from sonde.views.ranking import Ranking
from sonde.views.top import Top

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
