"""Rows that have left the kernel's table, and still count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.fold import fold
from sonde.records.layout import narrow
from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ROWS_KEPT_MAX = 10_240
"""So many retired rows are kept apart; it bounds the memory of a run that lasts for weeks."""


class RetiredRows:
    """Keeps the keys and values of rows, each member in the narrowest type that holds its values.

    (Of a histogram nearly all buckets are small: a row of 800 bytes takes 200.) Beyond ROWS_KEPT_MAX the oldest are
    added up into one, ``folded`` (of length 0 or 1).
    """

    def __init__(self, value_dtype: np.dtype[Any], columns: tuple[Column, ...]) -> None:
        """Keep values of this structured type, whose ``columns`` say how rows are added up."""
        import numpy as np

        self.folded: Array = np.empty(0, value_dtype)
        self._columns = columns
        self._parts: list[tuple[Array, dict[str, Array]]] = []

    def __len__(self) -> int:
        return sum(len(keys) for keys, _ in self._parts)

    def add(self, keys: Array, values: Array, chosen: Array | slice) -> None:
        """Keep more rows: those of ``chosen``, a mask or positions."""
        import numpy as np

        names = values.dtype.names or ()
        self._parts.append((keys[chosen], {name: narrow(values[name])[chosen] for name in names}))
        while len(self._parts) > 1 and len(self) > ROWS_KEPT_MAX:
            oldest, members = self._parts.pop(0)
            rows = np.empty(len(self.folded) + len(oldest), self.folded.dtype)
            rows[: len(self.folded)] = self.folded
            _widen(members, rows[len(self.folded) :])
            self.folded = fold(rows, self._columns)

    def before(self, keys: Array, values: Array, chosen: Array | None = None) -> tuple[Array, Array]:
        """Give all that are kept, and behind them these rows, of which ``chosen`` gives the positions of those to take."""
        import numpy as np

        if not self._parts:
            return (keys, values) if chosen is None else (keys[chosen], values[chosen])
        chosen = np.arange(len(keys)) if chosen is None else chosen
        together = np.empty(len(self) + len(chosen), values.dtype)
        at = 0
        for each, members in self._parts:
            _widen(members, together[at : at + len(each)])
            at += len(each)
        # Into its place: a copy of a large table less.
        np.take(values, chosen, out=together[at:], mode="clip")
        return np.concatenate([*(each for each, _ in self._parts), keys[chosen]]), together


def _widen(members: dict[str, Array], rows: Array) -> None:
    for name, member in members.items():
        rows[name] = member
