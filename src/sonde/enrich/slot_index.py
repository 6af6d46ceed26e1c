"""Which slot a key has, for many keys at once, in twelve bytes each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Slots = npt.NDArray[np.intp]

NOWHERE = -1
"""The slot of a key that is not there."""


class SlotIndex:
    """Slots by their keys, which are numbers of 64 bits and sorted: one dictionary would take ten times the room.

    Adding and removing cost a copy of all, and are for many at a time.
    """

    def __init__(self) -> None:
        import numpy as np

        self._keys: Array = np.empty(0, np.uint64)
        self._slots: Array = np.empty(0, np.int32)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, keys: Array) -> Slots:
        """Give the slots of keys; NOWHERE for those that are not there."""
        import numpy as np

        if not len(self):
            return np.full(len(keys), NOWHERE, np.intp)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self) - 1)
        return np.where(self._keys[at] == keys, self._slots[at], NOWHERE).astype(np.intp)

    def last(self, *, least: int, most: int) -> int:
        """Give the slot of the largest key within bounds, both included; NOWHERE if there is none."""
        import numpy as np

        before = int(np.searchsorted(self._keys, np.uint64(most), side="right"))
        if not before or self._keys[before - 1] < np.uint64(least):
            return NOWHERE
        return int(self._slots[before - 1])

    def add(self, keys: Array, slots: Array) -> None:
        """Take more keys, each once, that are not there yet."""
        import numpy as np

        order = np.argsort(keys)
        at = np.searchsorted(self._keys, keys[order])
        self._keys = np.insert(self._keys, at, keys[order])
        self._slots = np.insert(self._slots, at, slots[order])

    def remove(self, keys: Array) -> None:
        """Forget keys that are there."""
        import numpy as np

        at = np.searchsorted(self._keys, keys)
        self._keys, self._slots = np.delete(self._keys, at), np.delete(self._slots, at)
