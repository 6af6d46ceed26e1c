"""What was added to the rows of a table since they were last read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.fold import STAYING
from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Differences:
    """Remembers a table's rows from one read to the next, and gives those that have changed, less what they were.

    Counts become what was added; maxima, names and first times stay what they are. ``columns`` are the value's.
    A row that has left the table is forgotten: it must have been read before, with its last count. One that leaves it
    with this read, and may come back with the next, has to be named to ``forget``.
    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self._columns = tuple(column for column in columns if column.meaning not in STAYING)
        self._keys: Array | None = None
        self._values: Array | None = None

    def of(self, keys: Array, values: Array) -> tuple[Array, Array]:
        """Give the changed rows among these, with their differences."""
        import numpy as np

        order = np.argsort(as_bytes(keys))
        keys, values = keys[order], values[order]
        before, self._keys = self._keys, as_bytes(keys)
        before_values, self._values = self._values, values
        if before is None or before_values is None or not len(before) or not len(keys):
            return keys, values.copy()
        at = np.minimum(np.searchsorted(before, self._keys), len(before) - 1)
        known = before[at] == self._keys
        added = values.copy()
        changed = ~known
        for column in self._columns:
            member = added[column.name]
            if member.dtype.kind not in "iu":
                continue
            member[known] -= before_values[column.name][at[known]]
            changed |= member.reshape(len(member), -1).any(axis=1)
        return keys[changed], added[changed]

    def forget(self, ended: Array) -> None:
        """Take rows, keys as bytes, for new when they come again."""
        import numpy as np

        if self._keys is None or self._values is None or not len(ended):
            return
        kept = ~np.isin(self._keys, ended)
        self._keys, self._values = self._keys[kept], self._values[kept]


def as_bytes(rows: Array) -> npt.NDArray[np.void]:
    """Give each row of a structured array as one value that compares as a whole."""
    import numpy as np

    names = rows.dtype.names or ()
    # Without the gaps between its members, which differ where the members do not.
    packed = np.ascontiguousarray(
        rows.astype([(name, rows.dtype[name]) for name in names], copy=False) if names else rows
    )
    return packed.view(np.dtype((np.void, packed.dtype.itemsize))).reshape(-1)
