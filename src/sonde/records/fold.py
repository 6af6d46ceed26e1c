"""Adding up rows of a table, member by member, as their typedefs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

MAXIMA = frozenset({"sonde_max_t", "sonde_max_ns_t"})
FIRSTS = frozenset({"sonde_first_ns_t", "sonde_comm_t"})


def fold(values: Array, columns: tuple[Column, ...]) -> Array:
    """Make one row, an array of length one, of many: sums, maxima, and the last row's text and times."""
    import numpy as np

    one = np.zeros(1, values.dtype)
    for column in columns:
        member = values[column.name]
        if column.meaning in MAXIMA:
            one[column.name] = member.max(axis=0)
        elif column.meaning in FIRSTS or member.dtype.kind not in "iu":
            one[column.name] = member[-1]
        else:
            one[column.name] = member.sum(axis=0, dtype=member.dtype)
    return one
