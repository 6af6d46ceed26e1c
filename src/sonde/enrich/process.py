"""Processes: who each one is, by pid and start, for as long as anybody asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sonde.enrich.inheritance import executables_of_nodes
from sonde.enrich.interned import NONE, Interned
from sonde.enrich.process_event import LIVES
from sonde.enrich.process_files import Ask, Told, ask_files, cgroup_path, is_kernel_thread, living_pids
from sonde.enrich.process_rows import ProcessRows, key_of
from sonde.records.accounting import Accounting
from sonde.records.model import RecordBatch
from sonde.records.retirement import CLOCK_TICK_NS, boot_clock_offset_ns, lives

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Slots = npt.NDArray[np.intp]

ASKED_MAX = 512
"""So many processes that nobody has recorded are asked for in one look-up: each costs 60 µs and more."""
SETTLES_S = 1.0
"""So long after it began a process is asked for once more, where that matters."""
SNAPSHOT_EVERY_S = 10.0
"""After records were lost /proc is read again, but not more often."""

Place = tuple[int, int] | str
"""A cgroup: hierarchy and id as the kernel tells them, or the path from /proc."""


class Processes:
    """Knows processes from the stream ``processes.lifecycle`` and, where that is silent, from ``ask`` (/proc).

    ``rows`` holds one for each, bounded in number and time; ``find`` gives their slots. ``executables`` and
    ``places`` are what the rows' numbers stand for. ``asks_for_users`` says that users matter, which processes change
    when they have begun. Python's work is for each process, not for each event.
    """

    def __init__(
        self,
        ask: Ask = ask_files,
        *,
        rows: ProcessRows | None = None,
        asks_for_users: bool = False,
        pids: Callable[[], Sequence[int]] = living_pids,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.rows = ProcessRows() if rows is None else rows
        self.executables: Interned[str] = Interned()
        self.places: Interned[Place] = Interned()
        self._asks_for_users = asks_for_users
        self._ask, self._pids, self._clock_s = ask, pids, clock_s
        # Who was there when we came: their start is known by the clock tick only, until somebody names them exactly.
        self._before: dict[int, Told] = {}
        self._snapshot_at = float("-inf")
        self._accounted = Accounting()

    # ---- learning -------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Read who is there; at first use, and that should be after the stream was attached. Again is nothing."""
        if self._snapshot_at == float("-inf"):
            self._snapshot()

    def _snapshot(self) -> None:
        now = self._clock_s()
        pids = self._pids()
        for slot in self.rows.living_but(pids).tolist():
            # Which may be hidden from us, and not gone.
            if not lives(int(self.rows.pid[slot]), int(self.rows.start_ns[slot])):
                self.rows.end(slot, now)
        found = self._ask([pid for pid in pids if self.rows.newest(pid) < 0])
        if found is not None:
            self._snapshot_at, self._before = now, dict(found)

    def take(self, batch: RecordBatch) -> None:
        """Learn from a batch of the stream ``processes.lifecycle``."""
        self.begin()
        self._look_for_gaps(batch.accounting)
        chunk = max(64, self.rows.count_max // 4)
        for start in range(0, len(batch), chunk):
            self._take(batch.picking(slice(start, start + chunk)))
        self._forget()

    def _look_for_gaps(self, accounting: Accounting) -> None:
        """Read /proc again when records were lost, or when the stream began anew."""
        lost = accounting.lost_total > self._accounted.lost_total or accounting.seen < self._accounted.seen
        if not lost:
            self._accounted = accounting
        elif self._clock_s() - self._snapshot_at >= SNAPSHOT_EVERY_S:
            self._accounted = accounting
            self._snapshot()

    def _take(self, batch: RecordBatch) -> None:
        import numpy as np

        batch = batch.picking(np.isin(np.asarray(batch["event"]).astype("U6"), LIVES))
        if not len(batch):
            return
        event = np.asarray(batch["event"]).astype("U6")
        now = self._clock_s()
        slots = self._slots(np.asarray(batch["pid"]), np.asarray(batch["process_start_ns"]), now, make=True)
        parents = self._slots(
            np.asarray(batch["ppid"]), np.asarray(batch["parent_start_ns"]), now, make=False
        )
        self._inherit(batch, event, slots, parents)
        self._describe(batch, event, slots, now)

    def _inherit(self, batch: RecordBatch, event: Array, slots: Slots, parents: Slots) -> None:
        import numpy as np

        nodes = np.flatnonzero((event == "fork") | (event == "exec"))
        is_exec = event[nodes] == "exec"
        begun = np.full(len(nodes), NONE, dtype=np.int32)
        paths = batch["executable"][nodes[is_exec]].tolist()
        begun[is_exec] = [NONE if path is None else self.executables.number(path) for path in paths]
        before = np.where(parents[nodes] >= 0, self.rows.executable[parents[nodes]], NONE)
        runs = executables_of_nodes(slots[nodes], parents[nodes], is_exec, begun, before)
        self.rows.executable[slots[nodes]] = runs

    def _describe(self, batch: RecordBatch, event: Array, slots: Slots, now: float) -> None:
        """Write what records say; where they name a process several times the last one holds: NumPy goes in order."""
        import numpy as np

        rows = self.rows
        rows.comm[slots] = np.asarray(batch["comm"])
        rows.user[slots] = np.asarray(batch["uid"])
        rows.place[slots] = self._place_numbers(batch)
        rows.is_kernel[slots] = np.asarray(batch["is_kernel"])
        rows.is_known[slots] = rows.is_fresh[slots] = True
        rows.told[slots] = now
        ends = event == "exit"
        rows.living[slots] = ~ends
        # At its end a process may be an orphan: it keeps the parent that it had.
        rows.parent[slots[~ends]] = np.asarray(batch["ppid"])[~ends]

    def _place_numbers(self, batch: RecordBatch) -> Array:
        import numpy as np

        hierarchy = np.asarray(batch["hierarchy"], np.uint64)
        together = np.asarray(batch["cgroup_id"], np.uint64) | hierarchy << np.uint64(56)
        different, index = np.unique(together, return_inverse=True)
        keys = [(each >> 56, each & (1 << 56) - 1) for each in different.tolist()]
        return self.places.numbers(keys)[index]

    def _slots(self, pid: Array, start_ns: Array, now: float, *, make: bool) -> Slots:
        """Find slots; where there is none make one, or leave it at -1 unless /proc has told of the process."""
        import numpy as np

        different, first, index = np.unique(key_of(pid, start_ns), return_index=True, return_inverse=True)
        pid, start_ns = pid[first], start_ns[first]
        slots = self.rows.find(different, pid, start_ns, now)
        missing = np.flatnonzero(slots < 0)
        told = {
            at: self._from_before(number, int(start_ns[at]))
            for at, number in zip(missing.tolist(), pid[missing].tolist(), strict=True)
            if number in self._before
        }
        if not make:
            missing = np.array([at for at, each in told.items() if each is not None], dtype=np.intp)
        slots[missing] = self.rows.make(pid[missing], start_ns[missing], now)
        for at, each in told.items():
            if each is not None:
                self._tell(int(slots[at]), each)
        return slots[index]

    def _from_before(self, pid: int, start_ns: int) -> Told | None:
        """Take what /proc told of a process when we came, if it was that one."""
        told = self._before.get(pid)
        if told is None or not _is_start(told.start_ticks, start_ns):
            return None
        return self._before.pop(pid)

    # ---- asking ---------------------------------------------------------------------------------------------

    def find(self, pid: Array, start_ns: Array) -> Slots:
        """Give the slots of processes; -1 for those that could not be asked for yet, and for pid 0.

        A process that nobody has recorded and that is gone has a slot, too, whose ``is_known`` is false.
        """
        import numpy as np

        self.begin()
        now = self._clock_s()
        different, first, index = np.unique(key_of(pid, start_ns), return_index=True, return_inverse=True)
        pid, start_ns = pid[first], start_ns[first]
        slots = self.rows.find(different, pid, start_ns, now)
        wanted = self._wanted(slots, pid, now)
        if len(wanted):
            self._ask_for(wanted, slots, pid, start_ns, now)
        self._forget()
        return slots[index]

    def _wanted(self, slots: Slots, pid: Array, now: float) -> Array:
        """Tell which are to be asked for: the unknown; the living whose program is; who may have changed since."""
        import numpy as np

        rows = self.rows
        runs_nothing = (rows.executable[slots] == NONE) & ~rows.is_kernel[slots]
        # The kernel's threads get their names, and daemons their users, a moment after they began.
        changes = rows.is_kernel[slots] | self._asks_for_users
        unsure = runs_nothing | changes & (rows.told[slots] < now - SETTLES_S)
        is_unsure = (slots >= 0) & rows.living[slots] & rows.is_fresh[slots] & unsure
        return np.flatnonzero((slots < 0) & (pid > 0) | is_unsure)[:ASKED_MAX]

    def _ask_for(self, wanted: Array, slots: Slots, pid: Array, start_ns: Array, now: float) -> None:
        import numpy as np

        processes = list(zip(wanted.tolist(), pid[wanted].tolist(), start_ns[wanted].tolist(), strict=True))
        told = {number: self._from_before(number, start) for _, number, start in processes}
        found = self._ask([number for number, each in told.items() if each is None])
        if found is None:
            # They are asked for again, when they are wanted next.
            processes = [each for each in processes if told[each[1]] is not None]
            wanted = np.array([at for at, _, _ in processes], dtype=wanted.dtype)
        else:
            told |= found
        new = wanted[slots[wanted] < 0]
        slots[new] = self.rows.make(pid[new], start_ns[new], now)
        for at, number, start in processes:
            slot, each = int(slots[at]), told[number]
            self.rows.is_fresh[slot] = False
            if each is not None and _is_start(each.start_ticks, start):
                self._tell(slot, each)
            elif not self.rows.is_known[slot]:
                self.rows.living[slot] = False

    def _tell(self, slot: int, told: Told) -> None:
        """Write what /proc tells into a row."""
        rows = self.rows
        path = told.executable.decode(errors="surrogateescape")
        rows.executable[slot] = self.executables.number(path) if path else rows.executable[slot]
        rows.comm[slot] = told.comm.decode(errors="surrogateescape")
        rows.parent[slot], rows.user[slot] = told.parent, told.user
        rows.is_kernel[slot] = not path and is_kernel_thread(told.pid)
        place = told.cgroup.decode(errors="surrogateescape")
        if place in ("", "/") and not rows.is_kernel[slot]:
            # Everybody may read it, and on a machine of version 1 the other hierarchy tells.
            place = cgroup_path(told.pid) or place
        rows.place[slot] = self.places.number(place)
        rows.is_known[slot] = True

    # ---- forgetting -----------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self.rows.expire(self._clock_s())
        for numbers, column in ((self.executables, self.rows.executable), (self.places, self.rows.place)):
            became = numbers.compact(column)
            if became is not None:
                column[:] = became[column]


def _is_start(ticks: int, start_ns: int) -> bool:
    """Tell whether a start in /proc is this one: a tick is allowed for the rounding of either side."""
    return abs(ticks - (start_ns + boot_clock_offset_ns()) // CLOCK_TICK_NS) <= 1
