"""Cells: per-CPU counters that the rows of a table point to, so that CPUs do not share a row's memory."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.map.map import possible_cpus

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.loaded import Loaded
    from sonde.bpf.map import Map

    Array = npt.NDArray[Any]

MEANING = "sonde_cell_t"


def fill(free: Map, numbers: array[int]) -> None:
    """Put cells into the queue that the programs take them from; imports no NumPy, for it is done before attach."""
    done = ffi.new("uint32_t *")
    result = lib.sonde_map_update(free.fd, 0, 4, ffi.NULL, ffi.from_buffer(numbers), len(numbers), 0, done)
    check(result, "fill map", free.name)


class Cells:
    """The cells of one table: a row's count is its own and that of its cell, over all CPUs.

    Cell 0 is none. ``member`` of a row's value holds the cell's number, ``count`` what its counter is added to.
    """

    def __init__(self, cells: Map, free: Map, *, member: str, count: str) -> None:
        self._cells, self._free = cells, free
        self.member, self.count = member, count

    @classmethod
    def of(cls, loaded: Loaded, table: str) -> Cells | None:
        """Find a table's cells by their names: maps ``TABLE_cells`` and ``TABLE_free``; None where it has none."""
        maps = loaded.maps
        if f"{table}_cells" not in maps:
            return None
        return cls(maps[f"{table}_cells"], maps[f"{table}_free"], member="cell", count="count")

    @property
    def map(self) -> Map:
        """The map of the counters."""
        return self._cells

    def start(self) -> None:
        """Make all cells free; before the programs run."""
        fill(self._free, array("I", range(1, self._cells.max_entries)))

    def add_to(self, values: Array) -> Array:
        """Give rows with their cells' counters added."""
        _, counters = self._cells.to_numpy()
        added = values.copy()
        added[self.count] += counters.sum(axis=1, dtype=values[self.count].dtype)[values[self.member]]
        added[self.member] = 0
        return added

    def release(self, numbers: Array) -> None:
        """Make cells of rows that were deleted free again: zero first, for the next row begins there."""
        import numpy as np

        used = np.unique(numbers[numbers > 0]).astype(np.uint32)
        zeros = np.zeros((len(used), possible_cpus()), self._cells.value_dtype)
        self._cells.update_many(used, zeros)
        fill(self._free, array("I", used.tolist()))
