"""Which interval an address is in: of mappings, of code that was compiled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def interval_of(addresses: Array, starts: Array, ends: Array) -> Array:
    """Give the number of the interval that each address is in, -1 for none; ``starts`` are in order.

    Of intervals that overlap it is the last one that begins before the address, or none.
    """
    import numpy as np

    if not len(starts):
        return np.full(len(addresses), -1, np.int64)
    before = np.searchsorted(starts, addresses, side="right").astype(np.int64) - 1
    is_in = (before >= 0) & (addresses < ends[np.maximum(before, 0)])
    return np.where(is_in, before, -1)
