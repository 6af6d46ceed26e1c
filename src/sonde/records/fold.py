"""Adding up rows of a table, member by member, as their typedefs say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

MAXIMA = frozenset({"sonde_max_t", "sonde_max_ns_t", "sonde_last_ns_t", "sonde_moment_t"})
EARLIEST = frozenset({"sonde_first_ns_t", "sonde_min_ns_t"})
FIRSTS = EARLIEST | {"sonde_comm_t"}
FLAGS = frozenset({"sonde_tcp_flags_t"})

STAYING = MAXIMA | FIRSTS | FLAGS
"""Meanings of members that say the same of a row and of what was added to it: no differences are made of them."""


def fold(values: Array, columns: tuple[Column, ...]) -> Array:
    """Make one row, an array of length one, of many: sums, maxima, the earliest time, all flags, the last row's text."""
    import numpy as np

    one = np.zeros(1, values.dtype)
    for column in columns:
        one[column.name] = combined(values[column.name], column.meaning, axis=0)
    return one


def fold_cpus(values: Array, columns: tuple[Column, ...]) -> Array:
    """Make one row of each row's values on all CPUs: shape (n, CPUs) becomes (n,). Of texts the first CPU's that has one."""
    import numpy as np

    rows = np.zeros(len(values), values.dtype)
    for column in columns:
        member = values[column.name]
        if member.dtype.kind in "iu":
            rows[column.name] = combined(member, column.meaning, axis=1)
        else:
            is_set = member != b"" if member.dtype.kind == "S" else member.astype(bool)
            rows[column.name] = member[np.arange(len(member)), is_set.argmax(axis=1)]
    return rows


def combined(member: Array, meaning: str, *, axis: int) -> Array:
    """Combine a member along an axis, as its typedef says; of texts the last one stays."""
    import numpy as np

    if not adds_up(member, meaning):
        return np.asarray(member.take(-1, axis))
    return _added(member, meaning, lambda ufunc, values: ufunc.reduce(values, axis=axis, dtype=values.dtype))


def combined_from(member: Array, meaning: str, begins: Array) -> Array:
    """Combine a member's rows from each beginning to the next one, as its typedef says; of texts the last one stays."""
    import numpy as np

    if not len(begins):
        return member[:0]
    if not adds_up(member, meaning):
        return np.asarray(member[np.append(begins[1:], len(member)) - 1])
    return _added(
        member, meaning, lambda ufunc, values: ufunc.reduceat(values, begins, axis=0, dtype=values.dtype)
    )


def adds_up(member: Array, meaning: str) -> bool:
    """Tell whether values of a member make one together, or one of them has to stand for all."""
    return member.dtype.kind in "iu" and (meaning in EARLIEST or meaning not in FIRSTS)


def _added(member: Array, meaning: str, reduce: Callable[[np.ufunc, Array], Array]) -> Array:
    import numpy as np

    if meaning in EARLIEST:
        # 0 is no time: one less, it becomes the largest.
        one = member.dtype.type(1)
        with np.errstate(over="ignore"):
            return np.asarray(reduce(np.minimum, member - one) + one)
    if meaning in MAXIMA:
        return np.asarray(reduce(np.maximum, member))
    return np.asarray(reduce(np.bitwise_or if meaning in FLAGS else np.add, member))
