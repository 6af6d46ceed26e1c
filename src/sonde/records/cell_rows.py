"""Tables whose rows are only cells, which can therefore leave the kernel while they are in use."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from sonde._libbpf import lib
from sonde.records.cells import Cells
from sonde.records.differences import as_bytes
from sonde.records.fold import fold_cpus
from sonde.records.layout import columns_of
from sonde.records.merge import merged
from sonde.records.retired_rows import RetiredRows
from sonde.records.retirement import FILL_SHARE

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.map import Map

    Array = npt.NDArray[Any]


class CellRows:
    """Reads a table whose values are nothing but the numbers of cells; retires idle rows when it gets full.

    A row is idle if nothing was added to it since the last read. It may come to life at any moment, so it is not
    read, then deleted: its key is deleted, then every program that may have found it has ended, and then its cell is
    read, which nobody writes any more, and becomes free. If its key comes again it is a new row with a new cell;
    the reader adds both up. Nothing is counted twice, and nothing is missed.

    Where CPUs remember the cells of rows beside the hash, ``generation`` is a map of one number that makes them forget:
    it changes when no program can find the deleted rows any more, and again every program has to end.

    With ``keep`` off retired rows are given once more and then forgotten (``ended``): for readers that take
    differences. Otherwise they are kept here (RetiredRows).
    """

    def __init__(self, table: Map, cells: Cells, *, generation: Map | None = None, keep: bool = True) -> None:
        import numpy as np

        assert cells.map.shape.value_type is not None, "packaged objects have BTF"
        self._table, self._cells, self._keeps = table, cells, keep
        self._generation = generation
        self.columns = columns_of(cells.map.shape.value_type)
        self.ended: Array = np.empty(0, np.void)
        self.used = 0
        self._kept = RetiredRows(cells.map.value_dtype, self.columns)
        self._keys_before: Array = np.empty(0, np.void)
        self._values_before: Array = np.empty(0, np.void)
        self._can_wait: bool | None = None

    def read(self, *, is_last: bool = False) -> tuple[Array, Array]:
        """Read all rows, those that are kept among them, each key once; if it is the last time, retire none."""
        import numpy as np

        keys, rows = self._table.to_numpy()
        self.used = len(keys)
        numbers = rows[self._cells.member]
        values = self._counters()[numbers]
        idle = np.zeros(len(keys), bool) if is_last else self._idle(keys, values)
        self.ended = np.empty(0, np.void)
        in_use = None
        if idle.any():
            values[idle] = self._retired(keys[idle], numbers[idle])
            if self._keeps:
                self._kept.add(keys, values, idle)
                in_use = np.flatnonzero(~idle)
            else:
                self.ended = as_bytes(keys[idle])
        together = self._kept.before(keys, values, in_use)
        return merged(*together, self.columns) if len(self._kept) else together

    @property
    def folded(self) -> Array:
        """Give the row of what was retired longest ago: an array of length 0 or 1."""
        return self._kept.folded

    def _counters(self) -> Array:
        _, counters = self._cells.map.to_numpy()
        return fold_cpus(counters, self.columns)

    def _idle(self, keys: Array, values: Array) -> Array:
        """Tell which rows are as they were at the last read; none while there is room."""
        import numpy as np

        plain, now = as_bytes(keys), as_bytes(values)
        order = np.argsort(plain)
        before, values_before = self._keys_before, self._values_before
        self._keys_before, self._values_before = plain[order], now[order]
        idle = np.zeros(len(keys), bool)
        if len(keys) < self._table.max_entries * FILL_SHARE or not len(before) or not self._wait():
            return idle
        at = np.minimum(np.searchsorted(before, plain), len(before) - 1)
        return np.asarray((before[at] == plain) & (values_before[at] == now))

    def _wait(self) -> bool:
        """Wait until no program that began before still runs; False where the kernel cannot tell (nohz_full)."""
        if self._can_wait is None or self._can_wait:
            self._can_wait = lib.sonde_membarrier_global() == 0
        return self._can_wait

    def _retired(self, keys: Array, numbers: Array) -> Array:
        """Take rows out of the table and give their last values; their cells become free."""
        self._table.delete_many(keys)
        self._wait()
        if self._generation is not None:
            _advance(self._generation)
            self._wait()
        values = self._counters()[numbers]
        self._cells.release(numbers)
        return values


def _advance(generation: Map) -> None:
    """Make the one number of a map another; 0 is none."""
    first = bytes(4)
    now = int.from_bytes(generation.lookup_bytes(first) or first, sys.byteorder)
    generation.update_bytes(first, (now % 0xFFFFFFFF + 1).to_bytes(4, sys.byteorder))
