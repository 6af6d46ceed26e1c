"""One address space: which code one program in one process had mapped, at each moment from its beginning on."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, NamedTuple

from sonde.bpf.side_band import MappedPath
from sonde.enrich.intervals import interval_of
from sonde.enrich.process_maps import CodeMapping

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

ALWAYS_NS = -1
"""When what was there before us began."""
SPANS_MAX = 8192
"""So many mappings of one process are known at a time."""
STATES_MAX = 8
"""So many states of one address space, each ended by a mapping in another's place, are remembered."""
PENDING_MAX = 1024
"""So many records of one process wait until somebody asks for it."""
ANCESTORS_MAX = 32
"""So many generations wait for what they inherit."""

_SERIALS = count(1)


class Span(NamedTuple):
    """Code in memory: ``delta`` is an address less its place in the file, ``since_ns`` when it was mapped.

    ``is_instead`` says that it came where other code had been.
    """

    start: int
    end: int
    delta: int
    file: MappedPath
    since_ns: int = ALWAYS_NS
    is_instead: bool = False


class Mappings:
    """The code that a process had mapped, in one state of its address space.

    ``serial`` is that state's own number; ``begin_ns`` is when the program began whose address space it is.
    """

    __slots__ = ("_columns", "begin_ns", "serial", "spans")

    def __init__(self, spans: Sequence[Span] = (), *, begin_ns: int = ALWAYS_NS) -> None:
        self.spans = tuple(spans)
        self.begin_ns = begin_ns
        self.serial = next(_SERIALS)
        self._columns: tuple[Array, Array, Array] | None = None

    def find(self, addresses: Array) -> tuple[Array, Array]:
        """Give, for each address, the number of the span that it is in, and its place in the file: -1 and itself for none."""
        import numpy as np

        if self._columns is None:
            self._columns = (
                np.array([each.start for each in self.spans], np.uint64),
                np.array([each.end for each in self.spans], np.uint64),
                # The last one is for what is in no span.
                np.array([*(each.delta & (1 << 64) - 1 for each in self.spans), 0], np.uint64),
            )
        starts, ends, deltas = self._columns
        spans = interval_of(addresses, starts, ends)
        return spans, addresses - deltas[spans]


class AddressSpace:
    """One program in one process, from its beginning (fork or exec) to its end (exec or exit).

    What is recorded of it waits, and is put in its place when somebody asks. ``parent`` is the space that it was forked
    from, ``forked_by`` the process; ``wants_reading`` says that what is known of it may not be all, ``is_instead`` that the process
    ran another program before.
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
        "is_instead",
        "is_program",
        "pid",
        "wants_reading",
    )

    def __init__(
        self, pid: int, begin_ns: int, *, parent: AddressSpace | None = None, forked_by: int = 0
    ) -> None:
        self.pid, self.begin_ns, self.forked_by = pid, begin_ns, forked_by
        self.end_ns: int | None = None
        self.wants_reading = self.is_instead = False
        self.is_program = parent is None
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
        if self.is_instead:
            span = span._replace(is_instead=True)
        first, last = self._touched(span)
        touched = spans[first:last]
        if len(spans) >= SPANS_MAX or span.start >= span.end:
            return
        if any(each.file != span.file or each.delta != span.delta for each in touched):
            self._end_state(time_ns)
            kept = [each for old in touched for each in _without(old, span)]
            instead = span._replace(is_instead=True)
            spans[first:last] = sorted([instead, *kept], key=lambda each: each.start)
            return
        start = min([span.start, *(each.start for each in touched)])
        end = max([span.end, *(each.end for each in touched)])
        if len(touched) != 1 or touched[0].start != start or touched[0].end != end:
            since_ns = min([span.since_ns, *(each.since_ns for each in touched)])
            is_instead = any(each.is_instead for each in (span, *touched))
            spans[first:last] = [Span(start, end, span.delta, span.file, since_ns, is_instead)]
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

    def has_changed(self) -> bool:
        """Tell whether code came where other code had been."""
        self.settle()
        return any(each.is_instead for each in self._spans) or len(self._states) > 1

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
