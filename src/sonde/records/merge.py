"""Rows of one key that were counted in several places, as one row."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.differences import as_bytes
from sonde.records.fold import EARLIEST, FIRSTS, FLAGS, MAXIMA
from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def merged(keys: Array, values: Array, columns: tuple[Column, ...]) -> tuple[Array, Array]:
    """Give each key once, its values combined as their typedefs say (``fold``), sorted by the keys' bytes."""
    import numpy as np

    order = np.argsort(as_bytes(keys), kind="stable")
    keys, values = keys[order], values[order]
    plain = as_bytes(keys)
    first = np.flatnonzero(np.concatenate([[True], plain[1:] != plain[:-1]])) if len(keys) else order
    if len(first) == len(keys):
        return keys, values
    rows = values[first].copy()
    for column in columns:
        rows[column.name] = _combined(values[column.name], column.meaning, first)
    return keys[first], rows


def _combined(member: Array, meaning: str, first: Array) -> Array:
    """Combine the members of groups of rows, which begin at ``first``."""
    import numpy as np

    if member.dtype.kind not in "iu" or (meaning in FIRSTS and meaning not in EARLIEST):
        return np.asarray(member[np.append(first[1:], len(member)) - 1])
    if meaning in EARLIEST:
        one = member.dtype.type(1)
        return np.asarray(np.minimum.reduceat(member - one, first) + one)
    by: Any = np.maximum if meaning in MAXIMA else np.bitwise_or if meaning in FLAGS else np.add
    return np.asarray(by.reduceat(member, first))
