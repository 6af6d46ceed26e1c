"""Rows with the same key become one, member by member, as the members' typedefs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.differences import as_bytes
from sonde.records.fold import EARLIEST, FIRSTS, FLAGS, MAXIMA
from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def fold_alike(keys: Array, values: Array, columns: tuple[Column, ...]) -> tuple[Array, Array]:
    """Give each key once, and what all of its rows make together."""
    import numpy as np

    _, first, group = np.unique(as_bytes(keys), return_index=True, return_inverse=True)
    order = np.argsort(group, kind="stable")
    begins = np.searchsorted(group[order], np.arange(len(first)))
    rows = np.zeros(len(first), values.dtype)
    for column in columns:
        rows[column.name] = _combined_from(values[column.name][order], column.meaning, begins)
    return keys[first], rows


def _combined_from(member: Array, meaning: str, begins: Array) -> Array:
    """Combine a member from each beginning to the next one: as ``fold.combined`` does along an axis."""
    import numpy as np

    if not len(begins):
        return member
    if member.dtype.kind not in "iu" or (meaning in FIRSTS and meaning not in EARLIEST):
        return np.asarray(member[np.append(begins[1:], len(member)) - 1])
    if meaning in MAXIMA:
        return np.asarray(np.maximum.reduceat(member, begins, axis=0))
    if meaning in EARLIEST:
        # 0 is no time: one less, it becomes the largest.
        one = member.dtype.type(1)
        with np.errstate(over="ignore"):
            return np.asarray(np.minimum.reduceat(member - one, begins, axis=0) + one)
    if meaning in FLAGS:
        return np.asarray(np.bitwise_or.reduceat(member, begins, axis=0))
    return np.asarray(np.add.reduceat(member, begins, axis=0, dtype=member.dtype))
