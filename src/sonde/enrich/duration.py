"""Durations: from the kernel's histogram to counts, quantiles, and what lies beyond it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.histogram import BUCKET, quantiles
from sonde.records.metrics import DURATION_EXPONENT, DURATION_SCALE
from sonde.records.model import Enricher, RecordBatch

if TYPE_CHECKING:
    import numpy.typing as npt

UNIT_NS = 1e9 * 2.0**DURATION_EXPONENT
"""The buckets' unit in nanoseconds: bounds are powers of two of a second, as in OpenTelemetry and Prometheus."""


def with_count(unmeasured: str) -> Enricher:
    """Add ``count``: each event is in one of ``duration_buckets``, or is counted in the column ``unmeasured``."""

    def counted(batch: RecordBatch) -> RecordBatch:
        import numpy as np

        return batch.adding({"count": np.asarray(batch["duration_buckets"]).sum(axis=1) + batch[unmeasured]})

    return counted


def with_quantiles(batch: RecordBatch) -> RecordBatch:
    """Add ``NAME_p50_ns`` and ``NAME_p99_ns`` for each histogram ``NAME_buckets``; unknown where it is empty.

    ``NAME_max_ns`` and ``NAME_sum_ns`` become unknown there, too. Quantiles are estimates within a bucket, and
    never above the maximum.
    """
    import numpy as np

    added: dict[str, Any] = {}
    for column in batch.schema.having(BUCKET):
        name = column.name.removesuffix("_buckets")
        buckets = np.asarray(batch[column.name])
        p50, p99 = quantiles(buckets, DURATION_SCALE, (0.5, 0.99), unit=UNIT_NS)
        empty = buckets.sum(axis=1) == 0
        largest = _largest(np.asarray(batch[f"{name}_max_ns"]), buckets)
        added[f"{name}_p50_ns"] = _whole(np.ma.minimum(p50, largest))
        added[f"{name}_p99_ns"] = _whole(np.ma.minimum(p99, largest))
        added[f"{name}_max_ns"] = np.ma.masked_array(largest, mask=empty)
        added[f"{name}_sum_ns"] = np.ma.masked_array(batch[f"{name}_sum_ns"], mask=empty)
    return batch.adding(added)


def _largest(maximum: npt.NDArray[Any], buckets: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Correct a maximum that lost a race between two CPUs: it lies in the highest bucket that is not empty."""
    import numpy as np

    top = buckets.shape[1] - 1 - np.argmax(buckets[:, ::-1] != 0, axis=1)
    lower = np.floor(np.exp2(top / 2**DURATION_SCALE) * UNIT_NS).astype(np.uint64)
    found: npt.NDArray[Any] = np.maximum(maximum, np.where((buckets != 0).any(axis=1) & (top > 0), lower, 0))
    return found


def _whole(values: Any) -> Any:
    return values.round().astype("uint64")
