"""Rows of ended processes and cgroups leave the kernel's map, so that a table is bounded by what lives."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from sonde.records.cells import Cells
from sonde.records.cgroup_tree import living_cgroups
from sonde.records.differences import as_bytes
from sonde.records.layout import columns_of
from sonde.records.retired_rows import RetiredRows

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.map import Map

    Array = npt.NDArray[Any]

FILL_SHARE = 0.5
"""Above this share of max_entries, rows of ended processes are moved out of the map."""

CLOCK_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def start_ticks(pid: int | str) -> int | None:
    """Give a process's start in clock ticks since boot, as /proc/PID/stat has it; None when there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            text = file.read()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(text.rpartition(b")")[2].split()[19])


@functools.cache
def boot_clock_offset_ns() -> int:
    """Give what this time namespace adds to the starts in /proc/PID/stat: what it adds to the boot clock (Linux 5.5).

    Before Linux 5.11 (kernel commit 3ae700ecfae9) /proc tells the starts as they are outside: a new thread shows which.
    """
    try:
        with open("/proc/self/timens_offsets") as file:
            offsets = {words[0]: words[1:] for words in map(str.split, file)}
    except FileNotFoundError:
        return 0
    seconds, nanoseconds = offsets.get("boottime", ("0", "0"))
    offset_ns = int(seconds) * 1_000_000_000 + int(nanoseconds)
    return offset_ns if offset_ns and _tells_starts_by_own_clock(offset_ns) else 0


def _tells_starts_by_own_clock(offset_ns: int) -> bool:
    """Tell whether the start of a thread that begins now is now, by this namespace's clock, or rather now outside."""
    told: list[int] = []

    def look() -> None:
        ticks = start_ticks("thread-self")
        assert ticks is not None, "a thread that runs is in /proc"
        told.append(time.clock_gettime_ns(time.CLOCK_BOOTTIME) - ticks * CLOCK_TICK_NS)

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    return abs(told[0]) < abs(told[0] - offset_ns)


def lives(pid: int, start_ns: int) -> bool:
    """Tell whether the process that had this pid and began at this time (kernel's boot clock) is still there."""
    ticks = start_ticks(pid)
    if ticks is None:
        return _is_hidden(pid)
    start_ns += boot_clock_offset_ns()
    # A number was taken anew if the start differs; one tick is allowed for the rounding of either side.
    return abs(ticks - start_ns // CLOCK_TICK_NS) <= 1


def _is_hidden(pid: int) -> bool:
    """Tell whether a process that /proc does not show is there all the same (hidepid, systemd's ProtectProc=)."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True


def living_processes(rows: Array) -> Array:
    """Tell which of the processes, by pid and start, are there."""
    import numpy as np

    pairs = zip(rows["pid"].tolist(), rows["process_start_ns"].tolist(), strict=True)
    return np.array([lives(pid, start_ns) for pid, start_ns in pairs], dtype=bool)


OWNERS: Mapping[tuple[str, ...], Callable[[Array], Array]] = {
    ("pid", "process_start_ns"): living_processes,
    ("cgroup_id", "hierarchy"): living_cgroups,
}
"""What rows are of, by members of their key, the first that a key has; and who of them is still there."""


class Retirement:
    """Reads a table whose keys name a process or a cgroup, and keeps the rows of those that have ended.

    What is gone makes no events any more, so its rows cannot be live: they are read once more after its end was seen,
    kept here (RetiredRows), and deleted from the map. (Rows of the living are never deleted: that loses counts.)
    With ``keep`` off they are given once more and then forgotten: for readers that take differences and add up by
    themselves.
    """

    def __init__(
        self,
        table: Map,
        *,
        owner: tuple[str, ...],
        cells: Cells | None = None,
        keep: bool = True,
    ) -> None:
        import numpy as np

        assert table.shape.value_type is not None, "packaged objects have BTF"
        self._table, self._cells, self._keeps = table, cells, keep
        self._owner, self._living = list(owner), OWNERS[owner]
        self.columns = columns_of(table.shape.value_type)
        self._retired = RetiredRows(table.value_dtype, self.columns)
        # Who has ended does not come again.
        self.ended: Array = np.empty(0, np.void)
        self.used = 0

    def read(self, *, is_last: bool = False) -> tuple[Array, Array]:
        """Read all rows, those of the ended among them; if it is the last time, leave them where they are."""
        import numpy as np

        ended = np.empty(0, np.void) if is_last else self._ended()
        keys, values = self._table.to_numpy()
        self.used = len(keys)
        counted = values if self._cells is None else self._cells.add_to(values)
        living = None
        if len(ended):
            gone = np.isin(as_bytes(keys[self._owner]), ended)
            self._table.delete_many(keys[gone])
            if self._cells is not None:
                self._cells.release(values[gone][self._cells.member])
            if self._keeps:
                self._retired.add(keys, counted, gone)
                living = np.flatnonzero(~gone)
        return self._retired.before(keys, counted, living)

    @property
    def folded(self) -> Array:
        """Give the row of what was retired longest ago: an array of length 0 or 1."""
        return self._retired.folded

    def _ended(self) -> Any:
        import numpy as np

        keys, _, count = self._table.read_bytes()
        if count < self._table.max_entries * FILL_SHARE:
            return np.empty(0, np.void)
        rows = np.ndarray((count,), self._table.key_dtype, buffer=keys)[self._owner]
        owners, first = np.unique(as_bytes(rows), return_index=True)
        return owners[~self._living(rows[first])]
