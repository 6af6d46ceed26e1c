"""Rows of processes, as columns: found by pid and start, made, and forgotten a while after they were last wanted."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sonde.enrich.interned import NONE
from sonde.enrich.slot_index import NOWHERE, SlotIndex

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Slots = npt.NDArray[np.intp]

COUNT_MAX = 65_536
KEEP_S = 120.0
EXPIRE_EVERY_S = 5.0
START_BITS = 42
"""What 64 bits leave beside a pid: the kernel's PID_MAX_LIMIT is 2^22. Of a start in ns they tell the last 73 minutes apart."""


def key_of(pid: Array, start_ns: Array) -> Array:
    """Make one number of pid and start, by which processes of one pid stand together, the newest last."""
    import numpy as np

    start = start_ns.astype(np.uint64) & np.uint64((1 << START_BITS) - 1)
    return pid.astype(np.uint64) << np.uint64(START_BITS) | start


class ProcessRows:
    """A column for each thing that is known of processes; a process is a slot in all of them.

    At most ``count_max``: then those that ended longest ago make room, and after them the living that nobody wanted
    for longest. Ended ones are forgotten ``keep_s`` after they were last used. Memory grows with need, up to a bound.
    """

    def __init__(self, *, count_max: int = COUNT_MAX, keep_s: float = KEEP_S) -> None:
        import numpy as np

        self.count_max, self._keep_s = count_max, keep_s
        self._index = SlotIndex()
        self._free = array("i")
        self._expired_at = float("-inf")
        self.pid = np.empty(0, np.uint32)
        self.start_ns = np.empty(0, np.uint64)
        self.parent = np.empty(0, np.uint32)
        self.user = np.empty(0, np.uint32)
        self.executable = np.empty(0, np.int32)
        self.place = np.empty(0, np.int32)
        self.comm = np.empty(0, object)
        self.used = np.empty(0, np.float64)
        self.told = np.empty(0, np.float64)
        self._is_taken = np.empty(0, bool)
        self.living = np.empty(0, bool)
        self.is_kernel = np.empty(0, bool)
        self.is_known = np.empty(0, bool)
        self.is_fresh = np.empty(0, bool)
        self._grow(min(256, count_max))

    def __len__(self) -> int:
        return len(self._index)

    def find(self, keys: Array, pid: Array, start_ns: Array, now: float) -> Slots:
        """Give slots by ``key_of``, which are used now; -1 where there is none."""
        slots = self._index.find(keys)
        # Two processes might share a key; they do not share both of what it is made of.
        wrong = (slots >= 0) & ((self.pid[slots] != pid) | (self.start_ns[slots] != start_ns))
        slots[wrong] = NOWHERE
        self.used[slots[slots >= 0]] = now
        return slots

    def newest(self, pid: int) -> int:
        """Give the slot of the process that had this number last; -1 if there is none."""
        return self._index.last(least=pid << START_BITS, most=((pid + 1) << START_BITS) - 1)

    def make(self, pid: Array, start_ns: Array, now: float) -> Slots:
        """Make rows of which nothing is known but that they live; each pid and start once, and not there yet."""
        keys = key_of(pid, start_ns)
        shared = self._index.find(keys)
        self._release(shared[shared >= 0])
        slots = self._room(len(pid))
        self.pid[slots], self.start_ns[slots] = pid, start_ns
        self.parent[slots] = self.user[slots] = 0
        self.executable[slots] = self.place[slots] = NONE
        self.comm[slots] = None
        self.used[slots] = self.told[slots] = now
        self._is_taken[slots] = self.living[slots] = True
        self.is_kernel[slots] = self.is_known[slots] = self.is_fresh[slots] = False
        self._index.add(keys, slots)
        return slots

    def _room(self, count: int) -> Slots:
        import numpy as np

        while len(self._free) < count and len(self.pid) < self.count_max:
            self._grow(min(self.count_max, 2 * len(self.pid)))
        short = count - len(self._free)
        if short > 0:
            # More than are short, so that it does not happen for each process.
            self._release(self._oldest(short + self.count_max // 16))
        rest = len(self._free) - count
        taken = np.array(self._free[rest:], dtype=np.intp)
        del self._free[rest:]
        return taken

    def _oldest(self, count: int) -> Slots:
        import numpy as np

        occupied = np.flatnonzero(self._is_taken)
        order = np.lexsort((self.used[occupied], self.living[occupied]))
        return occupied[order[:count]]

    def _grow(self, count: int) -> None:
        import numpy as np

        before = len(self.pid)
        for name, column in list(vars(self).items()):
            if isinstance(column, np.ndarray):
                more = np.zeros(count - before, column.dtype)
                setattr(self, name, np.concatenate([column, more]))
        self.executable[before:] = self.place[before:] = NONE
        self._free.extend(range(before, count))

    def _release(self, slots: Slots) -> None:
        if not len(slots):
            return
        self._index.remove(key_of(self.pid[slots], self.start_ns[slots]))
        self.executable[slots] = self.place[slots] = NONE
        self.comm[slots] = None
        self._is_taken[slots] = self.living[slots] = False
        self._free.extend(slots.tolist())

    def expire(self, now: float) -> None:
        """Forget the ended that nobody has wanted for long; does something every few seconds only."""
        import numpy as np

        if now - self._expired_at < EXPIRE_EVERY_S:
            return
        self._expired_at = now
        self._release(np.flatnonzero(self._is_taken & ~self.living & (self.used < now - self._keep_s)))

    def living_but(self, pids: Iterable[int]) -> Slots:
        """Give the slots of living processes whose number is not among these."""
        import numpy as np

        living = np.flatnonzero(self.living)
        found: Slots = living[~np.isin(self.pid[living], np.fromiter(pids, np.uint32))]
        return found

    def end(self, slot: int, now: float) -> None:
        """Note that a process has ended."""
        self.living[slot] = False
        self.used[slot] = now
