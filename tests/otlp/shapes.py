"""Snapshots and batches for the tests of OTLP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sonde.records.metrics import Kind, Metric, Series, Snapshot

START_NS, TIME_NS = 1_700_000_000_000_000_000, 1_700_000_060_000_000_000


def column(values: Sequence[Any]) -> Any:
    """Make a column of Python's values as Totals does: None is masked."""
    data = np.empty(len(values), dtype=object)
    data[:] = list(values)
    return np.ma.masked_array(data, mask=[value is None for value in values])


def metric(kind: Kind = "counter", **changes: Any) -> Metric:
    """Make a metric."""
    fields = {"name": "sonde.test", "unit": "{call}", "description": "Calls.", "value": "count", **changes}
    return Metric(kind=kind, **fields)


def counted(
    counts: Sequence[int], *, of: Metric | None = None, time_ns: int = TIME_NS, start_ns: int = START_NS
) -> Series:
    """Make series with the attribute ``pid``, 0 and up."""
    return series(
        of or metric(), {"pid": list(range(len(counts)))}, counts, time_ns=time_ns, start_ns=start_ns
    )


def series(
    of: Metric,
    attributes: Mapping[str, Sequence[Any]],
    values: Any,
    *,
    start_ns: int | Sequence[int] = START_NS,
    time_ns: int = TIME_NS,
    totals: Sequence[int] | None = None,
    maxima: Sequence[int] | None = None,
) -> Series:
    """Make series of any metric."""
    kind = {"updown": np.int64, "gauge": np.float64}.get(of.kind, np.uint64)
    numbers = np.asarray(values, dtype=kind)
    return Series(
        of,
        {name: column(each) for name, each in attributes.items()},
        numbers,
        np.broadcast_to(np.asarray(start_ns, np.int64), len(numbers)).copy(),
        time_ns,
        totals=None if totals is None else np.asarray(totals, np.uint64),
        maxima=None if maxima is None else np.asarray(maxima, np.uint64),
    )


def snapshot(*parts: Series, resource: Mapping[str, Any] | None = None) -> Snapshot:
    """Make a snapshot."""
    return Snapshot(parts, TIME_NS, resource or {})
