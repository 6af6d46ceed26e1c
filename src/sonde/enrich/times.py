"""Times in records: the kernel's clock as the wall's, and durations that nobody knows."""

from __future__ import annotations

import time
from typing import Any

from sonde.records.model import RecordBatch

MOMENT, DURATION = "sonde_time_ns_t", "sonde_duration_ns_t"
"""The typedefs of a moment (CLOCK_MONOTONIC) and of a duration: probes/_include/types.bpf.h."""

DURATION_UNKNOWN = 2**64 - 1


def with_times(batch: RecordBatch) -> RecordBatch:
    """Add ``NAME``, in nanoseconds since 1970, for each moment ``NAME_ns``; mask durations that are unknown.

    The two clocks are compared when the batch is read: a wall clock that is set meanwhile shows from the next batch on.
    """
    import numpy as np

    ahead = time.time_ns() - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    added: dict[str, Any] = {}
    for column in batch.schema.having(MOMENT):
        added[column.name.removesuffix("_ns")] = np.asarray(batch[column.name]).astype(np.int64) + ahead
    for column in batch.schema.having(DURATION):
        values = np.asarray(batch[column.name])
        if values.ndim == 1:
            added[column.name] = np.ma.masked_array(values, mask=values == DURATION_UNKNOWN)
    return batch.adding(added)
