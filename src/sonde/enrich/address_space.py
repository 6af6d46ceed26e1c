"""Address spaces: which code each process had mapped at which moment, whether it still lives or not."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from sonde.bpf.side_band import EXIT, FORK, MAP, MappedPath, SideBandRecords
from sonde.enrich.process_files import living_pids
from sonde.enrich.process_maps import CodeMapping, code_mappings

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ALWAYS_NS = -1
"""When what was there before us began."""
ENDED_MAX, KEPT_MAX = 16_384, 1024
"""So many processes that have ended, and programs that gave way to others, are remembered: before their rows are read, and after."""
SPANS_MAX = 8192
"""So many mappings of one process are known at a time."""
STATES_MAX = 8
"""So many states of one address space, each ended by a mapping in another's place, are remembered."""
PENDING_MAX = 1024
"""So many records of one process wait until somebody asks for it."""
ENDED_MAPPINGS_MAX = 262_144
"""So many mappings of processes that have ended are remembered: 12 MB, or 40 when they have been asked for."""
FILES_MAX = 8192
"""So many mapped files are known as such; those that were mapped first are new again afterwards."""
ANCESTORS_MAX = 32
"""So many generations wait for what they inherit."""
LINEAGE_MAX = 8
SNAPSHOT_S = 2.0
"""The first look at all processes takes no longer; who is left is looked at when asked for."""

_SERIALS = count(1)


class Span(NamedTuple):
    """Code in memory: ``delta`` is an address less its place in the file, ``since_ns`` when it was mapped."""

    start: int
    end: int
    delta: int
    file: MappedPath
    since_ns: int = ALWAYS_NS


class Mappings:
    """The code that a process had mapped, in one state of its address space.

    ``serial`` is that state's own number; ``begin_ns`` is when the program began whose address space it is.
    """

    __slots__ = ("_starts", "begin_ns", "serial", "spans")

    def __init__(self, spans: Sequence[Span] = (), *, begin_ns: int = ALWAYS_NS) -> None:
        self.spans = tuple(spans)
        self.begin_ns = begin_ns
        self.serial = next(_SERIALS)
        self._starts: tuple[Array, Array, Array] | None = None

    def find(self, addresses: Array) -> tuple[Array, Array]:
        """Give, for each address, the number of the span that it is in (-1: none), and its place in the file."""
        import numpy as np

        if self._starts is None:
            self._starts = (
                np.array([each.start for each in self.spans], np.uint64),
                np.array([each.end for each in self.spans], np.uint64),
                np.array([each.delta & (1 << 64) - 1 for each in self.spans], np.uint64),
            )
        starts, ends, deltas = self._starts
        if not len(starts):
            return np.full(len(addresses), -1, np.int64), np.zeros(len(addresses), np.uint64)
        before = np.searchsorted(starts, addresses, side="right").astype(np.int64) - 1
        at = np.maximum(before, 0)
        is_in = (before >= 0) & (addresses < ends[at])
        return np.where(is_in, at, -1), addresses - deltas[at]


class AddressSpace:
    """One program in one process, from its beginning (fork or exec) to its end (exec or exit).

    What is recorded of it waits, and is put in its place when somebody asks. ``parent`` is the space that it was forked
    from, ``forked_by`` the process; ``wants_reading`` says that what is known of it may not be all.
    """

    __slots__ = (
        "_depth",
        "_parent",
        "_pending",
        "_pending_rows",
        "_spans",
        "_states",
        "begin_ns",
        "end_ns",
        "forked_by",
        "pid",
        "wants_reading",
    )

    def __init__(
        self, pid: int, begin_ns: int, *, parent: AddressSpace | None = None, forked_by: int = 0
    ) -> None:
        self.pid, self.begin_ns, self.forked_by = pid, begin_ns, forked_by
        self.end_ns: int | None = None
        self.wants_reading = False
        self._parent = parent
        self._depth: int = 0 if parent is None else parent._depth + 1
        self._pending: list[tuple[Array, Sequence[MappedPath]]] = []
        self._pending_rows = 0
        self._spans: list[Span] = []
        # Each with the time from which on it holds; the last one is made again when mappings were added.
        self._states: list[tuple[int, Mappings | None]] = [(ALWAYS_NS, None)]

    @property
    def size(self) -> int:
        """Count the mappings that it holds."""
        return self._pending_rows + len(self._spans)

    def bound(self) -> None:
        """Wait no longer for what it inherits, where too many generations do."""
        if self._depth > ANCESTORS_MAX:
            self.settle()

    def add(self, events: Array, files: Sequence[MappedPath]) -> None:
        """Take records of mappings, in the order of time; ``files`` are what their numbers stand for."""
        self._pending.append((events, files))
        self._pending_rows += len(events)
        if self._pending_rows > PENDING_MAX:
            self.settle()

    def read(self, mappings: Iterable[CodeMapping], now_ns: int) -> None:
        """Take what /proc says of it, now."""
        self.settle()
        for each in mappings:
            span = Span(each.start, each.end, each.start - each.file_offset, each.file)
            self._place(span, now_ns)

    def settle(self) -> None:
        """Put everything in its place that was recorded."""
        parent, self._parent = self._parent, None
        if parent is not None:
            before = parent.at(self.begin_ns).spans
            self._spans = [each for each in before if each.since_ns <= self.begin_ns]
            self._depth = 0
        pending, self._pending, self._pending_rows = self._pending, [], 0
        for events, files in pending:
            names = ("time_ns", "start", "end", "file_offset", "file")
            for at, start, end, offset, file in zip(*(events[name].tolist() for name in names), strict=True):
                self._place(Span(start, end, start - offset, files[file], at), at)

    def _place(self, span: Span, time_ns: int) -> None:
        spans = self._spans
        first, last = self._touched(span)
        touched = spans[first:last]
        if len(spans) >= SPANS_MAX or span.start >= span.end:
            return
        if any(each.file != span.file or each.delta != span.delta for each in touched):
            self._end_state(time_ns)
            kept = [each for old in touched for each in _without(old, span)]
            spans[first:last] = sorted([span, *kept], key=lambda each: each.start)
            return
        start = min([span.start, *(each.start for each in touched)])
        end = max([span.end, *(each.end for each in touched)])
        if len(touched) != 1 or touched[0].start != start or touched[0].end != end:
            since_ns = min([span.since_ns, *(each.since_ns for each in touched)])
            spans[first:last] = [Span(start, end, span.delta, span.file, since_ns)]
            self._states[-1] = (self._states[-1][0], None)

    def _touched(self, span: Span) -> tuple[int, int]:
        """Give the range of spans that overlap with it."""
        first = bisect_right(self._spans, span.start, key=lambda each: each.end)
        return first, bisect_left(self._spans, span.end, lo=first, key=lambda each: each.start)

    def _end_state(self, time_ns: int) -> None:
        """Keep how it was before something took another's place, and begin what it is from then on."""
        begin_ns, state = self._states[-1]
        self._states[-1] = (begin_ns, state or self._state())
        self._states.append((time_ns, None))
        del self._states[:-STATES_MAX]

    def _state(self) -> Mappings:
        return Mappings(self._spans, begin_ns=self.begin_ns)

    def at(self, time_ns: int) -> Mappings:
        """Give what was mapped at a time."""
        self.settle()
        number = bisect_right(self._states, time_ns, key=lambda each: each[0]) - 1
        begin_ns, state = self._states[max(number, 0)]
        if state is None:
            state = self._state()
            self._states[max(number, 0)] = (begin_ns, state)
        return state


def _without(old: Span, new: Span) -> Iterator[Span]:
    """Give what of a mapping is left beside one that came in its place."""
    if old.start < new.start:
        yield old._replace(end=new.start)
    if old.end > new.end:
        yield old._replace(start=new.end)


class AddressSpaces:
    """The address spaces of all processes, from records of ``SideBand`` and one look at /proc.

    ``begin`` takes that look, which should be after the side band was opened. Ended ones are kept until ``forget``, at
    most ``ended_max`` (then ``forgotten`` counts). ``on_file`` is told of files that were not mapped before, and where. May be used
    from several threads. ``lost`` is how many records were.
    """

    def __init__(
        self,
        *,
        ended_max: int = ENDED_MAX,
        read: Callable[[int], list[CodeMapping] | None] = code_mappings,
        on_file: Callable[[int, MappedPath], object] = lambda _pid, _file: None,
    ) -> None:
        self._spaces: dict[int, list[AddressSpace]] = {}
        self._ended: deque[tuple[AddressSpace, int]] = deque()
        self._ended_mappings = 0
        # Those of the records that are being taken, until it is known what they had mapped.
        self._ending: list[AddressSpace] = []
        self._ended_max = ended_max
        self._read = read
        self._on_file = on_file
        self._known: dict[MappedPath, MappedPath] = {}
        self.lost = 0
        self._lock = threading.RLock()
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
        if not spaces or spaces[0].begin_ns != ALWAYS_NS:
            spaces.insert(0, AddressSpace(pid, ALWAYS_NS))
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
            if pid in self._spaces:
                self._end(self._spaces[pid][-1], time_ns)
            return None
        spaces = self._spaces.setdefault(pid, [])
        if kind == FORK:
            inherited = self._of(parent, time_ns) or self._passed_over(parent)
            begun = AddressSpace(pid, time_ns, parent=inherited, forked_by=parent)
            begun.wants_reading = inherited.wants_reading
        else:
            begun = AddressSpace(pid, time_ns, forked_by=spaces[-1].forked_by if spaces else 0)
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
                del self._known[next(iter(self._known))]
            known = self._known[file] = file
            if file.inode:
                self._on_file(pid, file)
        return known

    # ---- asking ---------------------------------------------------------------------------------------------

    def _of(self, pid: int, time_ns: int) -> AddressSpace | None:
        spaces = self._spaces.get(pid)
        if not spaces:
            return None
        number = bisect_right(spaces, time_ns, key=lambda each: each.begin_ns) - 1
        return spaces[max(number, 0)]

    def of(self, pid: int, time_ns: int) -> AddressSpace | None:
        """Give the address space that a process had at a time (CLOCK_MONOTONIC); None where nothing is known of it."""
        with self._lock:
            space = self._of(pid, time_ns)
            if space is None or (space.wants_reading and space.end_ns is None):
                found = self._read(pid)
                if found:
                    space = space or self._first(pid)
                    space.read(found, time.clock_gettime_ns(time.CLOCK_MONOTONIC))
                    space.wants_reading = False
            return space

    def at(self, pid: int, time_ns: int) -> Mappings | None:
        """Give which code a process had mapped at a time (CLOCK_MONOTONIC); None where nothing is known of it."""
        with self._lock:
            space = self.of(pid, time_ns)
            return space.at(time_ns) if space is not None else None

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
        """Forget what had ended before a time, because its rows were read; the last KEPT_MAX stay."""
        with self._lock:
            while len(self._ended) > KEPT_MAX and (self._ended[0][0].end_ns or 0) < before_ns:
                self._drop_oldest()

    def _bound(self) -> None:
        for space in self._ending:
            self._ended.append((space, space.size))
            self._ended_mappings += space.size
        self._ending.clear()
        while len(self._ended) > self._ended_max or self._ended_mappings > ENDED_MAPPINGS_MAX:
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
