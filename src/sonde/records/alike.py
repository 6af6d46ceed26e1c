"""Rows with the same key become one, member by member, as the members' typedefs say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.differences import as_bytes
from sonde.records.fold import combined_from
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
        rows[column.name] = combined_from(values[column.name][order], column.meaning, begins)
    return keys[first], rows
