"""Series with known values, for tests of exporters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sonde.records.metrics import Metric, Series, Snapshot

START_NS = 1_700_000_000_123_456_789
TIME_NS = START_NS + 60_000_000_000

DURATION = Metric(
    "sonde.syscall.duration",
    "histogram",
    "s",
    "How long system calls took.",
    value="buckets",
    factor=1e-9,
    scale=1,
    exponent=-30,
    total="total_ns",
)
CALLS = Metric("sonde.syscall.calls", "counter", "{call}", "System calls.", value="count")
BUCKETS = 88


def column(values: Sequence[Any]) -> np.ma.MaskedArray[Any, Any]:
    """Make an attribute's column; None is masked."""
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return np.ma.masked_array(found, mask=[value is None for value in values])


def series(
    metric: Metric, attributes: Mapping[str, Sequence[Any]], values: Any, totals: Any = None
) -> Series:
    """Make series that began at START_NS."""
    values = np.asarray(values)
    if values.dtype.kind == "i" and metric.kind in ("counter", "histogram"):
        values = values.astype(np.uint64)
    return Series(
        metric,
        {name: column(each) for name, each in attributes.items()},
        values,
        np.full(len(values), START_NS),
        TIME_NS,
        totals=None if totals is None else np.asarray(totals, np.uint64),
    )


def snapshot(*parts: Series, **resource: Any) -> Snapshot:
    """Make a snapshot; the resource's attributes are written with ``__`` for a dot."""
    return Snapshot(parts, TIME_NS, {name.replace("__", "."): value for name, value in resource.items()})


def many(metric: Metric, count: int, *, seed: int = 1) -> Series:
    """Make as many series as are wanted, all different, as system calls have them."""
    random = np.random.default_rng(seed)
    attributes = {
        "process.executable.name": [f"program-{at // 7}" for at in range(count)],
        "sonde.syscall": [
            ("read", "write", "openat", "close", "futex", "mmap", "ioctl")[at % 7] for at in range(count)
        ],
        "error.type": [None if at % 3 else "EAGAIN" for at in range(count)],
    }
    if metric.kind != "histogram":
        return series(metric, attributes, random.integers(0, 2**40, count))
    values = np.zeros((count, BUCKETS), np.uint64)
    middle = random.integers(20, 60, count)
    for at in range(-8, 9):
        values[np.arange(count), middle + at] = random.integers(0, 100_000, count)
    return series(metric, attributes, values, random.integers(0, 2**50, count))
