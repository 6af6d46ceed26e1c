"""What perf tells beside samples: which code processes map, and when they begin, run another program, and end."""

from __future__ import annotations

import errno
import functools
import os
import select
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.link.perf_event import online_cpus
from sonde.bpf.link.perf_source import stopped_events
from sonde.errors import SondeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MAP, EXEC, FORK, EXIT = (
    lib.SONDE_SIDE_BAND_MAP,
    lib.SONDE_SIDE_BAND_EXEC,
    lib.SONDE_SIDE_BAND_FORK,
    lib.SONDE_SIDE_BAND_EXIT,
)
"""Kinds of records: code was mapped; a program begins in a process; a process begins; one ends."""

PAGES_PER_CPU = 64
"""A thousand mappings, which is a hundred programs that begin."""
EVENTS_MAX = 16_384
TEXT_BYTES_MAX = 1 << 20
BATCHES_MAX = 64
"""So many batches of records are taken at once: then whoever reads has something else to do."""
FOLLOWS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class MappedPath:
    """A file as a mapping tells of it: its path in its process's mount namespace, and which file it is.

    Memory without a file has the inode 0, and the path "" or a name in brackets (``[vdso]``).
    """

    path: str
    device: int
    inode: int


@dataclass(frozen=True, slots=True)
class SideBandRecords:
    """Records of a time, CPU by CPU: ``events`` is a structured array, and its column ``file`` an index into ``files``."""

    events: npt.NDArray[Any]
    files: tuple[MappedPath, ...]

    def __len__(self) -> int:
        return len(self.events)


class SideBand:
    """Records of all processes from all CPUs (PERF_RECORD_MMAP2, COMM, FORK, EXIT), from ``open`` on; Linux 4.1.

    A context manager. Times are CLOCK_MONOTONIC's, as ``bpf_ktime_get_ns`` gives them; pids those of this process's
    namespace. Only code is told of, no other mappings. ``lost`` counts the records that found a ring full. CPUs that
    come (back) are joined when records are taken, at most FOLLOWS_EVERY_S later.
    """

    def __init__(self, *, pages_per_cpu: int = PAGES_PER_CPU) -> None:
        """Open a ring of ``pages_per_cpu`` pages (a power of two) on every online CPU; raises KernelError."""
        self._pages = pages_per_cpu
        self._rings: dict[int, Any] = {}
        self._lock = threading.Lock()
        self._batch: Any = None
        self._kept: tuple[Any, ...] = ()
        self._epoll = select.epoll()
        self._followed_at = time.monotonic()
        self.lost = 0
        try:
            self._follow()
        except BaseException:
            self.close()
            raise

    def _follow(self) -> None:
        """Be on every CPU that is online; the events of one that was away do not come back with it."""
        online = set(online_cpus())
        events = {cpu: int(lib.sonde_side_band_fd(ring)) for cpu, ring in self._rings.items()}
        stopped = stopped_events(event for cpu, event in events.items() if cpu in online)
        for cpu, event in events.items():
            if cpu not in online or event in stopped:
                self._leave(cpu)
        for cpu in sorted(online - self._rings.keys()):
            self._join(cpu)

    def _join(self, cpu: int) -> None:
        ring = ffi.new("struct sonde_side_band **")
        result = lib.sonde_side_band_open(cpu, self._pages, ring)
        # A CPU may go offline between the list and here.
        if result == -errno.ENODEV:
            return
        check(result, "open perf's side band", f"on CPU {cpu}", capability="CAP_PERFMON")
        self._rings[cpu] = ffi.gc(ring[0], lib.sonde_side_band_close)
        self._epoll.register(lib.sonde_side_band_fd(ring[0]), select.EPOLLIN)

    def _leave(self, cpu: int) -> None:
        ring = self._rings.pop(cpu)
        self._epoll.unregister(lib.sonde_side_band_fd(ring))
        ffi.release(ring)

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._epoll.closed

    @property
    def cpus(self) -> tuple[int, ...]:
        """List the CPUs that it is on."""
        return tuple(self._rings)

    def fileno(self) -> int:
        """Give a descriptor for poll, select and epoll: readable when a program has begun or much was mapped."""
        return self._epoll.fileno()

    def drain(self) -> SideBandRecords:
        """Take what is there, in the order of time; raises SondeError once it is closed."""
        import numpy as np

        with self._lock:
            if self.closed:
                raise SondeError("read perf's side band", why="it is closed")
            files: dict[MappedPath, int] = {}
            events = np.concatenate(list(self._pieces(files)))
            if time.monotonic() - self._followed_at >= FOLLOWS_EVERY_S:
                self._followed_at = time.monotonic()
                self._follow()
        return SideBandRecords(events[np.argsort(events["time_ns"], kind="stable")], tuple(files))

    def _pieces(self, files: dict[MappedPath, int]) -> Iterator[npt.NDArray[Any]]:
        """Take the records of all CPUs, a full batch at a time; what they map gets numbers in ``files``."""
        batch = self._buffer()
        lib.sonde_side_band_reset(batch)
        for ring in list(self._rings.values()):
            for _ in range(BATCHES_MAX):
                if not lib.sonde_side_band_drain(ring, batch):
                    break
                yield self._taken(batch, files)
                lib.sonde_side_band_reset(batch)
        yield self._taken(batch, files)

    def _taken(self, batch: Any, files: dict[MappedPath, int]) -> npt.NDArray[Any]:
        import numpy as np

        self.lost, batch.lost = self.lost + int(batch.lost), 0
        events: npt.NDArray[Any] = self._kept[0][: batch.event_count].copy()
        if batch.file_count:
            numbers = [files.setdefault(each, len(files)) for each in self._files(batch)]
            maps = events["kind"] == MAP
            events["file"][maps] = np.array(numbers, np.uint32)[events["file"][maps]]
        return events

    def _files(self, batch: Any) -> list[MappedPath]:
        text = bytes(ffi.buffer(batch.text, batch.text_bytes))
        found = []
        for number in range(batch.file_count):
            each = batch.files[number]
            path = os.fsdecode(text[each.path_start : each.path_start + each.path_bytes])
            found.append(mapped_path(path, os.makedev(each.major, each.minor), each.inode))
        return found

    def _buffer(self) -> Any:
        """Give the memory that records are copied to: one for all CPUs, made at first use."""
        import numpy as np

        if self._batch is None:
            events, text = np.zeros(EVENTS_MAX, event_dtype()), np.zeros(TEXT_BYTES_MAX, np.uint8)
            batch = ffi.new("struct sonde_side_band_batch *")
            batch.events = ffi.cast(
                "struct sonde_side_band_event *",
                ffi.from_buffer(events.view(np.uint8), require_writable=True),
            )
            batch.text = ffi.cast("char *", ffi.from_buffer(text, require_writable=True))
            batch.event_count_max, batch.text_bytes_max = EVENTS_MAX, TEXT_BYTES_MAX
            self._batch, self._kept = batch, (events, text)
        return self._batch

    def close(self) -> None:
        """Close the rings; again is fine."""
        with self._lock:
            for cpu in list(self._rings):
                self._leave(cpu)
            self._epoll.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mapped_path(path: str, device: int, inode: int) -> MappedPath:
    """Take a path as perf and /proc/PID/maps write it: without the note that it was deleted, "" where there is no file."""
    if path.startswith(("//anon", "[anon")):
        return MappedPath("", 0, 0)
    return MappedPath(path.removesuffix(" (deleted)"), device, inode)


@functools.cache
def event_dtype() -> np.dtype[Any]:
    """Give the layout of ``SideBandRecords.events``: the struct's, all of whose fields are unsigned."""
    import numpy as np

    fields = ffi.typeof("struct sonde_side_band_event").fields
    return np.dtype([(name, f"u{ffi.sizeof(field.type)}") for name, field in fields])
