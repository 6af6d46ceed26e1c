"""Adding up rows of a table, member by member, as their typedefs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.model import Column

if TYPE_CHECKING:
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
    """Combine a member along an axis, as its typedef says."""
    import numpy as np

    if member.dtype.kind not in "iu" or (meaning in FIRSTS and meaning not in EARLIEST):
        return np.asarray(member.take(-1, axis))
    if meaning in MAXIMA:
        return np.asarray(member.max(axis))
    if meaning in EARLIEST:
        # 0 is no time: one less, it becomes the largest.
        one = member.dtype.type(1)
        with np.errstate(over="ignore"):
            return np.asarray((member - one).min(axis) + one)
    if meaning in FLAGS:
        return np.asarray(np.bitwise_or.reduce(member, axis))
    return np.asarray(member.sum(axis, dtype=member.dtype))
