"""Rows that were read out of the kernel for good, added up by key, and bounded."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sonde.records.alike import fold_alike
from sonde.records.differences import as_bytes
from sonde.records.fold import combined, fold
from sonde.records.model import Column

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ROWS_MAX = 32_768
"""So many rows are kept; with two stacks each as many stacks as are remembered."""

STAYING_SHARE, ROOMY_SHARE = 0.75, 0.9
"""When there are more, so many of ROWS_MAX stay as they are: those of the largest weight. What others become together is left if
there are no more than ROOMY_SHARE of ROWS_MAX then."""


class KeptRows:
    """A row for each key, cumulative. Adding costs as much as what is added, not as what is there.

    Beyond ``rows_max`` those with the least ``weight`` (a member of the values) get other keys, by ``together``, and those with
    the same key become one; where that is not enough they are added up into ``folded``, an array of length 0 or 1.
    """

    def __init__(
        self,
        key_dtype: np.dtype[Any],
        value_dtype: np.dtype[Any],
        columns: tuple[Column, ...],
        *,
        weight: str,
        rows_max: int = ROWS_MAX,
        together: Callable[[Array, Array], Array] | None = None,
    ) -> None:
        import numpy as np

        self._columns, self._weight, self._rows_max = columns, weight, rows_max
        self._together = together
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

        self._put(keys, values)
        limit: float = self._rows_max
        if len(self._at) > limit and self._together is not None:
            least, values = self._take_least()
            self._put(*fold_alike(self._together(least, values), values, self._columns))
            limit *= ROOMY_SHARE
        if len(self._at) > limit:
            _, values = self._take_least()
            self.folded = fold(np.concatenate([self.folded, values]), self._columns)

    def _put(self, keys: Array, values: Array) -> None:
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

    def _take_least(self) -> tuple[Array, Array]:
        """Take out the rows of the least weight, so that STAYING_SHARE of ROWS_MAX stay."""
        import numpy as np

        count = len(self._at)
        order = np.argsort(self._values[self._weight][:count], kind="stable")
        least = count - int(self._rows_max * STAYING_SHARE)
        taken = self._keys[order[:least]], self._values[order[:least]]
        stay = np.sort(order[least:])
        self._keys, self._values = self._keys[stay], self._values[stay]
        self._at = {key: at for at, key in enumerate(as_bytes(self._keys).tolist())}
        return taken
