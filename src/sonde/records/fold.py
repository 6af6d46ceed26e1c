"""Adding up rows of a table, member by member, as their typedefs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

MAXIMA = frozenset({"sonde_max_t", "sonde_max_ns_t", "sonde_last_ns_t", "sonde_moment_t"})
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


def fold_cpus(values: Array, columns: tuple[Column, ...]) -> Array:
    """Make one row of each row's values on all CPUs: shape (n, CPUs) becomes (n,). Of texts and first times the first CPU's that has one."""
    import numpy as np

    rows = np.zeros(len(values), values.dtype)
    for column in columns:
        member = values[column.name]
        if column.meaning in MAXIMA:
            rows[column.name] = member.max(axis=1)
        elif member.dtype.kind in "iu" and column.meaning not in FIRSTS:
            rows[column.name] = member.sum(axis=1, dtype=member.dtype)
        else:
            is_set = member.astype(bool) if member.dtype.kind != "S" else member != b""
            rows[column.name] = member[np.arange(len(member)), is_set.argmax(axis=1)]
    return rows
