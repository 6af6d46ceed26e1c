"""A kernel's buckets as Prometheus's histograms have them: classic ones cumulative, native ones sparse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonde.records.metrics import Array, Metric

SECONDS_FROM, SECONDS_TO = -20, 5
"""Classic bounds of durations, as powers of two: 0.95 µs to 32 s, about where other eBPF exporters have theirs."""

SCHEMAS = range(9)
"""The scales of native histograms that Prometheus has and the kernel makes (it has -4 to -1, too)."""

GAP_MAX = 2
"""Empty buckets between filled ones that are written out, as Prometheus's own libraries do: a new span is longer."""


@dataclass(frozen=True, slots=True)
class Classic:
    """The bounds of a classic histogram, and how many of the kernel's buckets lie below each."""

    bounds: tuple[float, ...]
    buckets: tuple[int, ...]


def classic(metric: Metric, *, buckets: int, bounds_max: int) -> Classic:
    """Choose the bounds: whole powers of two, so that the kernel's buckets fall between them exactly.

    They depend on the declaration alone, never on what was counted: sums over series need the same bounds. The last
    bucket, which has no end in the kernel, is above all of them.
    """
    per_octave = 2**metric.scale
    lowest, highest = metric.exponent + 1, metric.exponent + (buckets - 1) // per_octave
    if metric.unit == "s" and lowest <= SECONDS_FROM < highest:
        lowest, highest = SECONDS_FROM, min(highest, SECONDS_TO)
    step = max(1, -(-(highest - lowest + 1) // max(1, bounds_max)))
    powers = range(lowest, highest + 1, step)
    return Classic(
        tuple(2.0**power for power in powers),
        tuple((power - metric.exponent) * per_octave for power in powers),
    )


def first_index(metric: Metric) -> int:
    """Give the number that Prometheus has for the kernel's bucket 0: it counts upper bounds, OpenTelemetry lower ones."""
    return (metric.exponent << metric.scale) + 1


def zero_threshold(metric: Metric) -> float:
    """Give the upper bound of the kernel's bucket 0, which holds what is from zero up to it."""
    return float(2.0 ** (metric.exponent + 2.0**-metric.scale))


@dataclass(frozen=True, slots=True)
class Sparse:
    """Native buckets of many histograms, flat: runs of buckets (spans) and the buckets' differences within them.

    A span's ``offset`` is counted from the end of the one before, the first's from bucket 0 of the schema. The counts
    per histogram say which spans and deltas are whose.
    """

    offsets: Array
    lengths: Array
    spans_each: Array
    deltas: Array
    deltas_each: Array


def sparse(counts: Array, *, first: int) -> Sparse:
    """Leave out what is empty; ``counts`` has a row for each histogram, ``first`` is the index of its column 0."""
    import numpy as np

    kept = _with_small_gaps(counts > 0)
    # A border of nothing on both sides, so that every run has a beginning and an end within its row.
    edges = np.diff(np.pad(kept, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    row, begin = np.nonzero(edges == 1)
    end = np.nonzero(edges == -1)[1]
    is_first = np.diff(row, prepend=-1) != 0
    offsets = begin - np.where(is_first, -first, np.roll(end, 1))
    values = counts[kept].astype(np.int64)
    deltas_each = kept.sum(axis=1)
    deltas = np.diff(values, prepend=0)
    # The first of each histogram is its count; a difference from another histogram's last means nothing.
    starts = (np.cumsum(deltas_each) - deltas_each)[deltas_each > 0]
    deltas[starts] = values[starts]
    return Sparse(offsets, end - begin, np.bincount(row, minlength=len(counts)), deltas, deltas_each)


def _with_small_gaps(filled: Array) -> Array:
    """Keep empty buckets that lie between filled ones, no more than ``GAP_MAX`` in a row."""
    import numpy as np

    buckets = filled.shape[1]
    at = np.arange(buckets)
    before = np.maximum.accumulate(np.where(filled, at, -buckets), axis=1)
    after = np.minimum.accumulate(np.where(filled, at, 2 * buckets)[:, ::-1], axis=1)[:, ::-1]
    kept: Array = (after - before) <= GAP_MAX + 1
    return kept
