"""Watching a loaded object: its records as they come, the rest every interval."""

from __future__ import annotations

import functools
import select
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sonde.bpf.codec import as_dict
from sonde.bpf.map.per_cpu import PerCpuArrayMap, summed
from sonde.errors import SondeError
from sonde.records.layout import record_of
from sonde.views.entries import entries_of
from sonde.views.object import ObjectWriter, State, Tally

if TYPE_CHECKING:
    from sonde.bpf.hooks import IteratorLink
    from sonde.bpf.map import Map
    from sonde.bpf.object import Object
    from sonde.bpf.perfbuf import PerfBuffer
    from sonde.bpf.ringbuf import RingBuffer

GATHER_S = 0.02
_OURS = "__record"
"""What RECORD_STREAM adds to a stream's name, for the pointer that tells the type of its records."""


@dataclass(slots=True)
class Stream:
    """A ring or perf buffer of an object, and how its records become values (bytes where the object does not tell)."""

    name: str
    buffer: RingBuffer | PerfBuffer
    decode: Callable[[memoryview], Any]
    lost: Callable[[], int | None]
    delivered: int = 0

    def drain(self, writer: ObjectWriter) -> int:
        """Write what has come; gives how many records."""
        records: Any = self.buffer.drain()
        now = time.time_ns()
        for at in range(len(records)):
            writer.record(self.name, self.decode(records[at]), now)
        self.delivered += len(records)
        return len(records)

    @property
    def tally(self) -> Tally:
        """Give what has come and what was lost."""
        return Tally(self.delivered, self.lost())


def streams_of(loaded: Object) -> list[Stream]:
    """Open every ring and perf buffer."""
    from sonde.bpf.perfbuf import PerfBuffer
    from sonde.bpf.ringbuf import RingBuffer

    found = []
    for name, each in loaded.maps.items():
        if each.type == "ringbuf":
            found.append(Stream(name, RingBuffer(each), _decoder(loaded, name), _loss(loaded, name)))
        elif each.type == "perf_event_array":
            perf = PerfBuffer(each)
            found.append(Stream(name, perf, _decoder(loaded, name), functools.partial(getattr, perf, "lost")))
    return found


def _loss(loaded: Object, ring: str) -> Callable[[], int | None]:
    """Tell what found a ring full, where the program counts it: the kernel does not.

    It is looked for in a variable ``RING_lost``, or in the members ``lost_CAUSE`` of the entries of a map
    ``RING_accounting``, as sonde's own probes have them.
    """
    variable, accounting = loaded.variables.get(f"{ring}_lost"), loaded.maps.get(f"{ring}_accounting")

    def lost() -> int | None:
        if variable is not None:
            return variable.value if isinstance(variable.value, int) else None
        if not isinstance(accounting, PerCpuArrayMap):
            return None
        counters = as_dict(summed(list(accounting.totals().values())))
        if not isinstance(counters, dict):
            return None
        causes = [count for name, count in counters.items() if name.startswith("lost_")]
        return sum(causes) if causes else None

    return lost


def _decoder(loaded: Object, stream: str) -> Callable[[memoryview], Any]:
    """Decode records by the type that the object tells; others, and those of another length, stay bytes."""
    from sonde.bpf.codec import codec_of

    record = record_of(loaded.btf, stream) if loaded.btf is not None else None
    if record is None:
        return bytes
    codec = codec_of(record)

    def decode(raw: memoryview) -> Any:
        # The kernel rounds a perf record's length up; what is behind the struct is nothing.
        return codec.decode(raw[: codec.size]) if len(raw) >= codec.size else bytes(raw)

    return decode


@dataclass(slots=True)
class Watch:
    """Reads an object until it is told to end; ``iterators`` are links whose programs write text."""

    loaded: Object
    streams: Sequence[Stream]
    iterators: Sequence[IteratorLink]
    writer: ObjectWriter
    only_at_end: bool = False
    maps: Sequence[Map] = field(init=False)

    def __post_init__(self) -> None:
        """Find the maps that can be shown."""
        names = {stream.name for stream in self.streams}
        self.maps = [
            each
            for name, each in self.loaded.maps.items()
            if name not in names and not name.startswith(".") and not each.type.startswith("user_ring")
        ]

    def run(self, *, every_s: float, duration_s: float | None, until: Sequence[int]) -> None:
        """Watch for a time, or until one of the descriptors is readable."""
        started = time.monotonic()
        deadline = float("inf") if duration_s is None else started + duration_s
        next_tick = started + every_s
        while True:
            now = time.monotonic()
            ready = _ready([*until, *self._descriptors()], min(next_tick, deadline) - now)
            if any(fd in ready for fd in until):
                break
            if ready and _ready(until, GATHER_S):
                break
            self._drain()
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= next_tick:
                if not self.only_at_end:
                    self.writer.state(self.state(), is_last=False)
                next_tick = max(next_tick + every_s, now)
        self._finish()

    def _descriptors(self) -> list[int]:
        return [stream.buffer.fileno() for stream in self.streams]

    def _drain(self) -> int:
        return sum(stream.drain(self.writer) for stream in self.streams)

    def _finish(self) -> None:
        texts = self._texts()
        for link in reversed(self.loaded.links):
            link.close()
        while self._drain():
            continue
        self.writer.state(self.state(texts=texts), is_last=True)
        self.writer.close({stream.name: stream.tally for stream in self.streams})

    def state(self, *, texts: dict[str, str] | None = None) -> State:
        """Read everything that is not a stream."""
        return State(
            time.time_ns(),
            [entries_of(each) for each in self.maps],
            self._variables(),
            self._texts() if texts is None else texts,
        )

    def _variables(self) -> dict[str, Any]:
        found = {}
        for name, variable in self.loaded.variables.items():
            try:
                found[name] = variable.value
            except SondeError:
                # A type that has no value in Python, such as a lock.
                continue
        return found

    def _texts(self) -> dict[str, str]:
        return {link.program.name: link.read().decode(errors="replace") for link in self.iterators}


def is_marker(knob: str) -> bool:
    """Tell whether a constant only says what a stream's records are."""
    return knob.endswith(_OURS)


def _ready(descriptors: Sequence[int], seconds: float) -> list[int]:
    poll = select.poll()
    for fd in descriptors:
        poll.register(fd, select.POLLIN)
    return [fd for fd, _ in poll.poll(min(max(0.0, seconds), 3600.0) * 1000)]
