"""Rows that were read out of the kernel for good, added up by key, and bounded."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.records.differences import as_bytes
from sonde.records.fold import combined, fold
from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ROWS_MAX = 32_768
"""So many rows are kept; with two stacks each as many stacks as are remembered."""

STAYING_SHARE = 0.75
"""When there are more, so many of ROWS_MAX stay: those of the largest weight."""


class KeptRows:
    """A row for each key, cumulative. Adding costs as much as what is added, not as what is there.

    Beyond ``rows_max`` those with the least ``weight`` (a member of the values) are added up into ``folded``, an array of
    length 0 or 1.
    """

    def __init__(
        self,
        key_dtype: np.dtype[Any],
        value_dtype: np.dtype[Any],
        columns: tuple[Column, ...],
        *,
        weight: str,
        rows_max: int = ROWS_MAX,
    ) -> None:
        import numpy as np

        self._columns, self._weight, self._rows_max = columns, weight, rows_max
        self._at: dict[bytes, int] = {}
        self._keys: Array = np.empty(0, key_dtype)
        self._values: Array = np.empty(0, value_dtype)
        self.folded: Array = np.empty(0, value_dtype)

    def __len__(self) -> int:
        return len(self._at)

    def rows(self) -> tuple[Array, Array]:
        """Give keys and values; what is added later does not change them."""
        count = len(self._at)
        return self._keys[:count].copy(), self._values[:count].copy()

    def add(self, keys: Array, values: Array) -> None:
        """Add rows, each key once."""
        import numpy as np

        if not len(keys):
            return
        before = len(self._at)
        at = np.array([self._at.setdefault(each, len(self._at)) for each in as_bytes(keys).tolist()], np.intp)
        self._make_room(len(self._at))
        is_known = at < before
        self._keys[at[~is_known]] = keys[~is_known]
        self._values[at[~is_known]] = values[~is_known]
        self._combine(at[is_known], values[is_known])
        if len(self._at) > self._rows_max:
            self._fold_least()

    def _make_room(self, count: int) -> None:
        import numpy as np

        if count > len(self._keys):
            more = max(count, 2 * len(self._keys)) - len(self._keys)
            self._keys = np.concatenate([self._keys, np.zeros(more, self._keys.dtype)])
            self._values = np.concatenate([self._values, np.zeros(more, self._values.dtype)])

    def _combine(self, at: Array, values: Array) -> None:
        import numpy as np

        for column in self._columns:
            member = self._values[column.name]
            member[at] = combined(np.stack([member[at], values[column.name]]), column.meaning, axis=0)

    def _fold_least(self) -> None:
        import numpy as np

        count = len(self._at)
        order = np.argsort(self._values[self._weight][:count], kind="stable")
        least = count - int(self._rows_max * STAYING_SHARE)
        self.folded = fold(np.concatenate([self.folded, self._values[order[:least]]]), self._columns)
        stay = np.sort(order[least:])
        self._keys, self._values = self._keys[stay], self._values[stay]
        self._at = {key: at for at, key in enumerate(as_bytes(self._keys).tolist())}
