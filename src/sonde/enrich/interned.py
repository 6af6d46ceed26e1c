"""Values that many rows share: each is kept once, under a number."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

Value = TypeVar("Value", bound=Hashable)

COUNT_BEFORE_COMPACTING = 1024
NONE = -1
"""The number of no value."""


class Interned(Generic[Value]):
    """Numbers for values, from 0 up; ``compact`` forgets those that no row has any more."""

    def __init__(self) -> None:
        self.values: list[Value] = []
        self._numbers: dict[Value, int] = {}
        self._compact_at = COUNT_BEFORE_COMPACTING

    def __len__(self) -> int:
        return len(self.values)

    def number(self, value: Value) -> int:
        """Give a value's number, a new one if it has none."""
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self.values)
            self.values.append(value)
        return found

    def numbers(self, values: Iterable[Value]) -> Array:
        """Give the numbers of many."""
        import numpy as np

        return np.array([self.number(value) for value in values], dtype=np.int32)

    def compact(self, used: Array) -> Array | None:
        """Forget values whose numbers are not in ``used``, once there are twice as many as there were.

        Gives what each old number has become, for the rows that hold them; the last element is NONE's. None where
        all stays as it is.
        """
        import numpy as np

        if len(self.values) < self._compact_at:
            return None
        kept = np.unique(used[used >= 0])
        became = np.full(len(self.values) + 1, NONE, dtype=np.int32)
        became[kept] = np.arange(len(kept), dtype=np.int32)
        self.values = [self.values[number] for number in kept.tolist()]
        self._numbers = {value: number for number, value in enumerate(self.values)}
        self._compact_at = max(COUNT_BEFORE_COMPACTING, 2 * len(self.values))
        return became
