"""Rows of processes, as columns: found by pid and start, made, and forgotten a while after they were last wanted."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from sonde.enrich.interned import NONE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Slots = npt.NDArray[np.intp]

COUNT_MAX = 65_536
KEEP_S = 120.0
EXPIRE_EVERY_S = 5.0
PID_BITS = 22
"""The kernel's PID_MAX_LIMIT is 2^22."""


def key_of(pid: Array, start_ns: Array) -> Array:
    """Make one number of pid and start: of the start those bits that two processes of one pid do not share."""
    import numpy as np

    return start_ns.astype(np.uint64) << np.uint64(PID_BITS) | pid.astype(np.uint64)


class ProcessRows:
    """A column for each thing that is known of processes; a process is a slot in all of them.

    At most ``count_max``: then those that ended longest ago make room, and after them the living that nobody wanted
    for longest. Ended ones are forgotten ``keep_s`` after they were last used. Memory grows with need, up to a bound.
    """

    def __init__(self, *, count_max: int = COUNT_MAX, keep_s: float = KEEP_S) -> None:
        import numpy as np

        self.count_max, self._keep_s = count_max, keep_s
        self._slots: dict[int, int] = {}
        self.newest: dict[int, int] = {}
        self._free: list[int] = []
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
        self.living = np.empty(0, bool)
        self.is_kernel = np.empty(0, bool)
        self.is_known = np.empty(0, bool)
        self.is_fresh = np.empty(0, bool)
        self._grow(min(256, count_max))

    def __len__(self) -> int:
        return len(self._slots)

    def find(self, keys: Array, pid: Array, start_ns: Array, now: float) -> Slots:
        """Give slots by ``key_of``, which are used now; -1 where there is none."""
        import numpy as np

        get = self._slots.get
        slots = np.array([get(key, -1) for key in keys.tolist()], dtype=np.intp)
        # Two processes might share a key; they do not share both of what it is made of.
        wrong = (slots >= 0) & ((self.pid[slots] != pid) | (self.start_ns[slots] != start_ns))
        slots[wrong] = -1
        self.used[slots[slots >= 0]] = now
        return slots

    def make(self, pid: Array, start_ns: Array, now: float) -> Slots:
        """Make rows of which nothing is known but that they live."""
        import numpy as np

        slots = self._room(len(pid))
        self.pid[slots], self.start_ns[slots] = pid, start_ns
        self.parent[slots] = self.user[slots] = 0
        self.executable[slots] = self.place[slots] = NONE
        self.comm[slots] = None
        self.used[slots] = self.told[slots] = now
        self.living[slots] = True
        self.is_kernel[slots] = self.is_known[slots] = self.is_fresh[slots] = False
        places = slots.tolist()
        self._slots.update(zip(key_of(np.asarray(pid), np.asarray(start_ns)).tolist(), places, strict=True))
        self.newest.update(zip(np.asarray(pid).tolist(), places, strict=True))
        return slots

    def _room(self, count: int) -> Slots:
        import numpy as np

        while len(self._free) < count and len(self.pid) < self.count_max:
            self._grow(min(self.count_max, 2 * len(self.pid)))
        short = count - len(self._free)
        if short > 0:
            # More than are short, so that it does not happen for each process.
            self._release(self._oldest(short + self.count_max // 16))
        taken, self._free = self._free[-count:] if count else [], self._free[: len(self._free) - count]
        return np.array(taken, dtype=np.intp)

    def _oldest(self, count: int) -> Slots:
        import numpy as np

        occupied = np.fromiter(self._slots.values(), np.intp, len(self._slots))
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
        self._free += range(before, count)

    def _release(self, slots: Slots) -> None:
        keys = key_of(self.pid[slots], self.start_ns[slots]).tolist()
        for slot, key, pid in zip(slots.tolist(), keys, self.pid[slots].tolist(), strict=True):
            if self._slots.get(key) == slot:
                del self._slots[key]
            if self.newest.get(pid) == slot:
                del self.newest[pid]
        self.executable[slots] = self.place[slots] = NONE
        self.comm[slots] = None
        self.living[slots] = False
        self._free += slots.tolist()

    def expire(self, now: float) -> None:
        """Forget the ended that nobody has wanted for long; does something every few seconds only."""
        import numpy as np

        if now - self._expired_at < EXPIRE_EVERY_S:
            return
        self._expired_at = now
        occupied = np.fromiter(self._slots.values(), np.intp, len(self._slots))
        self._release(occupied[~self.living[occupied] & (self.used[occupied] < now - self._keep_s)])

    def living_but(self, pids: Iterable[int]) -> Slots:
        """Give the slots of living processes whose number is not among these."""
        import numpy as np

        occupied = np.fromiter(self._slots.values(), np.intp, len(self._slots))
        found: Slots = occupied[
            self.living[occupied] & ~np.isin(self.pid[occupied], np.fromiter(pids, np.uint32))
        ]
        return found

    def end(self, slot: int, now: float) -> None:
        """Note that a process has ended."""
        self.living[slot] = False
        self.used[slot] = now
