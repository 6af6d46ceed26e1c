"""The address spaces of all processes: who had which code mapped at which moment, whether it still lives or not."""

from __future__ import annotations

import threading
import time
from bisect import bisect_right, insort
from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sonde.bpf.side_band import EXIT, FORK, MAP, MappedPath, SideBandRecords
from sonde.enrich.address_space import ALWAYS_NS, AddressSpace, Mappings
from sonde.enrich.process_files import living_pids
from sonde.enrich.process_maps import CodeMapping, code_mappings

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ENDED_MAX, KEPT_MAX = 16_384, 1024
"""So many processes that have ended, and programs that gave way to others, are remembered: before their rows are read, and after."""
ENDED_MAPPINGS_MAX = 262_144
"""So many mappings of processes that have ended are remembered: 14 MB, or 60 when they have been asked for."""
FILES_MAX = 8192
"""So many mapped files are known as such; those that were mapped first are new again afterwards."""
LINEAGE_MAX = 8
"""So many processes are given of those that one comes from."""
SNAPSHOT_S = 2.0
"""The first look at all processes takes no longer; who is left is looked at when asked for."""


class AddressSpaces:
    """The address spaces of all processes, from records of ``SideBand`` and one look at /proc.

    ``begin`` takes that look, which should be after the side band was opened. Ended ones are kept until ``forget``, at
    most ENDED_MAX (then ``forgotten`` counts). ``on_file`` is told of files that were not mapped since, and where. May be used
    from several threads. ``lost`` is how many records were.
    """

    def __init__(
        self,
        *,
        read: Callable[[int], list[CodeMapping] | None] = code_mappings,
        on_file: Callable[[int, MappedPath], object] = lambda _pid, _file: None,
    ) -> None:
        self._spaces: dict[int, list[AddressSpace]] = {}
        self._ended: deque[tuple[AddressSpace, int]] = deque()
        self._ended_mappings = 0
        # Those of the records that are being taken, until it is known what they had mapped.
        self._ending: list[AddressSpace] = []
        self._read = read
        self._on_file = on_file
        self._known: dict[MappedPath, MappedPath] = {}
        # With the time at which, in that order.
        self._told: dict[MappedPath, int] = {}
        self.lost = 0
        self._lock = threading.Lock()
        self.forgotten = 0

    def begin(self, pids: Callable[[], Sequence[int]] = living_pids, *, first: Sequence[int] = ()) -> None:
        """Read what the processes have mapped that are there, ``first`` those; for SNAPSHOT_S at most."""
        deadline = time.monotonic() + SNAPSHOT_S
        own = set(first)
        for pid in [*first, *(each for each in pids() if each not in own)]:
            now_ns = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
            found = self._read(pid)
            if found:
                with self._lock:
                    shared = [each._replace(file=self._know(pid, each.file)) for each in found]
                    self._first(pid).read(shared, now_ns)
            if time.monotonic() > deadline:
                return

    def _first(self, pid: int) -> AddressSpace:
        """Give the space of a process that was there before us."""
        spaces = self._spaces.setdefault(pid, [])
        if not spaces:
            spaces.append(AddressSpace(pid, ALWAYS_NS))
        return spaces[0]

    def _passed_over(self, pid: int) -> AddressSpace:
        """Give the space of a process that nobody has told of: it was left out in the first look, or its record was lost."""
        space = self._first(pid)
        space.wants_reading = True
        return space

    # ---- records --------------------------------------------------------------------------------------------

    def take(self, records: SideBandRecords, *, lost: int = 0) -> None:
        """Learn from records in the order of time; ``lost`` is how many were lost so far."""
        import numpy as np

        events = records.events
        with self._lock:
            if lost > self.lost:
                self.lost = lost
                self._doubt()
            is_map = events["kind"] == MAP
            tasks = events[~is_map]
            names = ("kind", "time_ns", "pid", "parent")
            columns = (tasks[name].tolist() for name in names)
            begun = [self._take_task(*task) for task in zip(*columns, strict=True)]
            maps = events[is_map]
            files = self._know_all(maps, records.files)
            maps = maps[np.argsort(maps["pid"], kind="stable")]
            begins = [0, *(np.flatnonzero(np.diff(maps["pid"])) + 1).tolist(), len(maps)]
            for begin, end in pairwise(begins):
                if begin < end:
                    # A copy, that a small piece does not keep all of them.
                    self._take_maps(maps[begin:end].copy(), files)
            for each in begun:
                if each is not None:
                    each.bound()
            self._bound()

    def _doubt(self) -> None:
        """After records were lost: what lives is read again when it is asked for."""
        for spaces in self._spaces.values():
            if spaces[-1].end_ns is None:
                spaces[-1].wants_reading = True

    def _take_task(self, kind: int, time_ns: int, pid: int, parent: int) -> AddressSpace | None:
        """Take the beginning or end of a process or program; gives the address space that begins."""
        if kind == EXIT:
            # Also of one whose beginning was lost: what it has mapped may come behind this, and has to be bounded.
            spaces = self._spaces.get(pid) or [self._passed_over(pid)]
            self._end(spaces[-1], time_ns)
            return None
        spaces = self._spaces.setdefault(pid, [])
        if kind == FORK:
            inherited = self._of(parent, time_ns) or self._passed_over(parent)
            begun = AddressSpace(pid, time_ns, parent=inherited, forked_by=parent)
            begun.wants_reading = inherited.wants_reading
        else:
            begun = AddressSpace(pid, time_ns, forked_by=spaces[-1].forked_by if spaces else 0)
            begun.is_instead = any(each.is_program for each in spaces)
        if spaces and spaces[-1].begin_ns <= time_ns:
            self._end(spaces[-1], time_ns)
        insort(spaces, begun, key=lambda each: each.begin_ns)
        return begun

    def _end(self, space: AddressSpace, time_ns: int) -> None:
        if space.end_ns is None:
            space.end_ns = time_ns
            self._ending.append(space)

    def _know_all(self, maps: Array, files: Sequence[MappedPath]) -> list[MappedPath]:
        """Give the files that all share, for those of some records."""
        mapped_by: dict[int, int] = {}
        for pid, number in zip(maps["pid"].tolist(), maps["file"].tolist(), strict=True):
            mapped_by.setdefault(number, pid)
        return [self._know(mapped_by.get(number, 0), file) for number, file in enumerate(files)]

    def _take_maps(self, events: Array, files: Sequence[MappedPath]) -> None:
        """Take mappings of one process."""
        import numpy as np

        pid = int(events["pid"][0])
        spaces = self._spaces.get(pid)
        if not spaces:
            spaces = [self._passed_over(pid)]
        if len(spaces) == 1 or spaces[-1].begin_ns <= int(events["time_ns"][0]):
            spaces[-1].add(events, files)
            return
        begins = np.array([each.begin_ns for each in spaces[1:]], np.uint64)
        whose = np.searchsorted(begins, events["time_ns"], side="right")
        for number in np.unique(whose).tolist():
            spaces[number].add(events[whose == number], files)

    def _know(self, pid: int, file: MappedPath) -> MappedPath:
        """Give the one that all share; whoever wants to is told of a new one."""
        known = self._known.get(file)
        if known is None:
            if len(self._known) >= FILES_MAX:
                oldest = next(iter(self._known))
                del self._known[oldest]
                self._told.pop(oldest, None)
            known = self._known[file] = file
        if file.inode and file not in self._told:
            self._told[known] = time.monotonic_ns()
            self._on_file(pid, file)
        return known

    # ---- asking ---------------------------------------------------------------------------------------------

    def _of(self, pid: int, time_ns: int) -> AddressSpace | None:
        spaces = self._spaces.get(pid)
        if not spaces:
            return None
        number = bisect_right(spaces, time_ns, key=lambda each: each.begin_ns) - 1
        return spaces[max(number, 0)]

    def at(self, pid: int, time_ns: int) -> Mappings | None:
        """Give which code a process had mapped at a time (CLOCK_MONOTONIC); None where nothing is known of it."""
        with self._lock:
            space = self._of(pid, time_ns)
            if space is None or (space.wants_reading and space.end_ns is None):
                space = self._read_again(pid, space)
            return space.at(time_ns) if space is not None else None

    def has_changed(self, pid: int) -> bool:
        """Tell whether code of a process came where it had had other code, or might have: in another program."""
        with self._lock:
            return any(each.has_changed() for each in self._spaces.get(pid, ()))

    def _read_again(self, pid: int, space: AddressSpace | None) -> AddressSpace | None:
        """Have a process's space complete by what /proc says of it, where it says anything."""
        found = self._read(pid)
        if found:
            space = space or self._first(pid)
            space.read(found, time.clock_gettime_ns(time.CLOCK_MONOTONIC))
            space.wants_reading = False
        return space

    def lineage(self, pid: int) -> tuple[int, ...]:
        """Give a process, who forked it, and so on, as far as that was recorded: who may have the same files."""
        with self._lock:
            found = [pid]
            while len(found) < LINEAGE_MAX and (spaces := self._spaces.get(found[-1])):
                if spaces[-1].forked_by in (0, *found):
                    break
                found.append(spaces[-1].forked_by)
            return tuple(found)

    # ---- forgetting -----------------------------------------------------------------------------------------

    def forget(self, before_ns: int) -> None:
        """Forget what had ended before a time, because its rows were read; the last KEPT_MAX stay.

        Of files that were told of before then it is told anew when they are mapped again: one may have got the inode of
        another that was deleted.
        """
        with self._lock:
            while self._told and next(iter(self._told.values())) < before_ns:
                del self._told[next(iter(self._told))]
            while len(self._ended) > KEPT_MAX and (self._ended[0][0].end_ns or 0) < before_ns:
                self._drop_oldest()

    def _bound(self) -> None:
        for space in self._ending:
            self._ended.append((space, space.size))
            self._ended_mappings += space.size
        self._ending.clear()
        while len(self._ended) > ENDED_MAX or self._ended_mappings > ENDED_MAPPINGS_MAX:
            self._drop_oldest()
            self.forgotten += 1

    def _drop_oldest(self) -> None:
        space, size = self._ended.popleft()
        self._ended_mappings -= size
        spaces = self._spaces.get(space.pid, [])
        if space in spaces:
            spaces.remove(space)
        if not spaces:
            self._spaces.pop(space.pid, None)

    def __len__(self) -> int:
        return sum(len(spaces) for spaces in self._spaces.values())
