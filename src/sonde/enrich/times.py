"""Times in records: the kernel's clock as the wall's, and durations that nobody knows."""

from __future__ import annotations

import time
from typing import Any

from sonde.records.model import RecordBatch

MOMENT, LAST, DURATION = "sonde_time_ns_t", "sonde_last_ns_t", "sonde_duration_ns_t"
"""The typedefs of moments (CLOCK_MONOTONIC) and of a duration: probes/_include/types.bpf.h."""

WALL = "sonde_moment_t"
"""The meaning of what is added to a table's rows: nanoseconds since 1970."""

DURATION_UNKNOWN = 2**64 - 1


def with_times(batch: RecordBatch) -> RecordBatch:
    """Add ``NAME``, in nanoseconds since 1970, for each moment ``NAME_ns``; mask what is unknown.

    The two clocks are compared when the batch is read: a wall clock that is set meanwhile shows from the next batch on.
    """
    import numpy as np

    ahead = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    added: dict[str, Any] = {}
    meanings: dict[str, str] = {}
    for column in batch.schema.having(MOMENT):
        added[column.name.removesuffix("_ns")] = np.asarray(batch[column.name]).astype(np.int64) + ahead
    for column in batch.schema.having(LAST):
        values = np.asarray(batch[column.name]).astype(np.int64)
        name = column.name.removesuffix("_ns")
        added[name] = np.ma.masked_array(values + ahead, mask=values == 0)
        meanings[name] = WALL
    for column in batch.schema.having(DURATION):
        values = np.asarray(batch[column.name])
        if values.ndim == 1:
            added[column.name] = np.ma.masked_array(values, mask=values == DURATION_UNKNOWN)
    return batch.adding(added, meanings=meanings)
