"""Metrics and records for tests of JSON lines, and what their account has to be."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from sonde.exporters.exporter import Status
from sonde.records.metrics import Metric, Series, Snapshot
from sonde.records.model import Column, RecordBatch, Schema

START_NS, NOW_NS = 1_782_907_200_000_000_000, 1_782_907_205_000_000_123
COUNT = Metric("sonde.syscall.count", "counter", "{call}", "Calls.", "count", {"process.pid": "pid"})
DURATION = Metric(
    "sonde.syscall.duration", "histogram", "s", "Latency.", "buckets", factor=2**-30,
    scale=1, exponent=-30, total="total", maximum="maximum",
)  # fmt: skip
PATIENCE_S = 60


def counts(values: dict[int, int]) -> Series:
    pids = np.array(list(values), dtype=np.uint32)
    starts = np.full(len(values), START_NS, np.int64)
    return Series(
        COUNT, {"process.pid": pids}, np.array(list(values.values()), np.uint64), starts, time_ns=NOW_NS
    )


def snapshot(*series: Series, **more: Any) -> Snapshot:
    return Snapshot(series or (counts({7: 11, 13: 17}),), NOW_NS, **more)


def batch(records: int, name: str = "cat") -> RecordBatch:
    schema = Schema(
        "syscalls.calls",
        (Column("time_ns", "sonde_time_ns_t"), Column("time"), Column("pid"), Column("comm")),
    )
    comm = np.empty(records, dtype=object)
    comm[:] = name
    columns: dict[str, Any] = {
        "time_ns": np.arange(records, dtype=np.uint64),
        "time": NOW_NS + np.arange(records),
        "pid": np.ma.masked_array(np.arange(records, dtype=np.uint32), mask=np.arange(records) == 1),
        "comm": comm,
    }
    return RecordBatch(schema, columns)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def balanced(status: Status) -> bool:
    points = status.points_delivered + status.points_waiting + sum(status.points_dropped.values())
    records = status.records_delivered + status.records_waiting + sum(status.records_dropped.values())
    return (status.points_offered, status.records_offered) == (points, records)
