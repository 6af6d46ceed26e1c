"""Base-2 exponential histograms, as OpenTelemetry and Prometheus have them, from the kernel's buckets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Counts = npt.NDArray[np.uint64]
    Floats = npt.NDArray[np.float64]

BUCKET = "sonde_bucket_t"
"""The typedef of a histogram's buckets: probes/_include/types.bpf.h."""


def bounds(buckets: int, scale: int, *, unit: float = 1.0) -> Floats:
    """Give the ``buckets + 1`` boundaries of buckets 0, 1, …: bucket i covers (2**(i/2**scale), 2**((i+1)/2**scale)].

    ``unit`` is what the buckets' unit is in the unit that is wanted. The kernel counts what is not above 1 in bucket 0
    too.
    """
    import numpy as np

    found: Floats = np.exp2(np.arange(buckets + 1) / 2**scale) * unit
    return found


BLOCK_ROWS = 128
"""So many histograms are worked on at once: what that needs for all of a large table would be several times its size."""


def quantiles(counts: Counts, scale: int, fractions: tuple[float, ...], *, unit: float = 1.0) -> Any:
    """Estimate quantiles of histograms, one a row of ``counts`` (n, buckets); an empty row is masked.

    Gives a masked array of shape (fractions, n), in the unit that the buckets' is ``unit`` of. Within a bucket, values are taken as spread evenly on the logarithmic
    scale: the estimate lies in the right bucket, so it is off by at most the bucket's width (41 % at scale 1, 19 % at 2).
    """
    import numpy as np

    rows = len(counts)
    found = np.ma.masked_array(np.zeros((len(fractions), rows)), mask=True)
    for begin in range(0, rows, BLOCK_ROWS):
        block = slice(begin, begin + BLOCK_ROWS)
        found[:, block] = _quantiles(counts[block], scale, fractions, unit)
    return found


def _quantiles(counts: Counts, scale: int, fractions: tuple[float, ...], unit: float) -> Any:
    import numpy as np

    rows, buckets = counts.shape
    cumulative = np.cumsum(counts, axis=1, dtype=np.float64)
    totals = cumulative[:, -1] if buckets else np.zeros(rows)
    found = np.ma.masked_array(np.zeros((len(fractions), rows)), mask=True)
    filled = totals > 0
    for at, fraction in enumerate(fractions):
        rank = np.maximum(totals * fraction, np.minimum(totals, 1))
        index = np.minimum((cumulative < rank[:, None]).sum(axis=1), buckets - 1)
        inside = np.take_along_axis(counts, index[:, None], axis=1)[:, 0].astype(np.float64)
        before = np.take_along_axis(cumulative, index[:, None], axis=1)[:, 0] - inside
        share = np.divide(rank - before, inside, out=np.zeros(rows), where=inside > 0)
        found[at] = np.ma.masked_array(np.exp2((index + share) / 2**scale) * unit, mask=~filled)
    return found
