"""Stacks of the same addresses are different ones where a process has unloaded code and loaded other code there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.enrich.address_space import Mappings
from sonde.enrich.address_spaces import AddressSpaces
from sonde.records.stacks import NUMBER_MIN, StackTable

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class ReplacedCode:
    """Gives stacks numbers of their own that lead through code which came in another's place.

    The kernel numbers stacks by their addresses, and rows are added up by number: without this all would have the names of the
    code that was there first. A number depends on the code alone, so that what is loaded again and again has one.
    """

    def __init__(self, stacks: StackTable, spaces: AddressSpaces) -> None:
        self._stacks, self._spaces = stacks, spaces

    def numbers(self, pids: Array, times: Array, numbers: Array) -> Array:
        """Give the numbers of the user stacks of rows, each of a process, at a time."""
        import numpy as np

        changed = [pid for pid in np.unique(pids).tolist() if self._spaces.has_changed(pid)]
        if not changed:
            return numbers
        numbers = numbers.copy()
        for row in np.flatnonzero(np.isin(pids, changed)).tolist():
            mappings = self._spaces.at(int(pids[row]), int(times[row]))
            if mappings is not None:
                numbers[row] = self._number(int(numbers[row]), mappings)
        return numbers

    def _number(self, number: int, mappings: Mappings) -> int:
        if number not in self._stacks:
            return number
        addresses = self._stacks[number]
        found = (mappings.spans[span] for span in set(mappings.find(addresses)[0].tolist()) if span >= 0)
        code = sorted((each.file.device, each.file.inode, each.delta) for each in found if each.is_instead)
        if not code:
            return number
        own = (number ^ hash(tuple(code))) & (1 << 64) - 1 | NUMBER_MIN
        self._stacks.add([own], [addresses])
        return own
