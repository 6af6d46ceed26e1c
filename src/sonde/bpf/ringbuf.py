"""Ring buffers: records from the kernel, many at a time, as NumPy arrays."""

from __future__ import annotations

import errno
import functools
import mmap
import os
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.errors import LayoutError, SondeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.bpf.btf import BtfType
    from sonde.bpf.map import Map

RECORDS_MAX = 1 << 16
"""Records of one ``drain``: bounds the memory of a batch."""


@dataclass(frozen=True, slots=True)
class Records:
    """Records of any length: number ``i`` is ``data[offsets[i] : offsets[i] + lengths[i]]``, aligned to 8 bytes."""

    data: npt.NDArray[np.uint8]
    offsets: npt.NDArray[np.uint64]
    lengths: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.offsets)

    def __getitem__(self, index: int) -> memoryview:
        start = int(self.offsets[index])
        return self.data.data[start : start + int(self.lengths[index])]


class RingBuffer:
    """The consumer of a ring-buffer map (Linux 5.8): a context manager, closed with the object at the latest.

    ``record`` is the BTF type or NumPy dtype of fixed-size records; without one, records may have any length.
    Draining never blocks the programs that write, and runs without the GIL. All of the ring is mapped, and counts as
    resident; or ``window_bytes`` of it at a time, a power of two from a page on, which costs 0.6 µs for each page that goes by.
    """

    def __init__(
        self, map: Map, *, record: BtfType | np.dtype[Any] | None = None, window_bytes: int | None = None
    ) -> None:
        """Map the ring of ``map`` into this process; raises KernelError."""
        if map.type != "ringbuf":
            raise SondeError(f"read map {map.name}", why=f"it is no ring buffer but a map of type {map.type}")
        ring = ffi.new("struct sonde_ring **")
        window = min(window_bytes or map.max_entries, map.max_entries)
        if window < mmap.PAGESIZE or window & (window - 1):
            raise SondeError(
                f"map the ring buffer {map.name}",
                why=f"a window of {window} bytes is no power of two of pages",
            )
        check(lib.sonde_ring_open(map.fd, map.max_entries, window, ring), "map the ring buffer", map.name)
        self._pointer = ffi.gc(ring[0], lib.sonde_ring_close)
        self._lock = threading.Lock()
        self._map = map
        self._at_close: list[Callable[[], object]] = []
        self.dtype = None if record is None else _dtype(record)
        self.size_bytes = map.max_entries
        map.adopt(self)

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._pointer is None

    def _live(self) -> Any:
        if self._pointer is None:
            raise SondeError(f"read ring buffer {self._map.name}", why="it is closed")
        return self._pointer

    def fileno(self) -> int:
        """Give a descriptor for poll, select and epoll: readable when there are records."""
        self._live()
        return self._map.fd

    @property
    def pending_bytes(self) -> int:
        """Bytes written and not yet drained, headers included."""
        with self._lock:
            return int(lib.sonde_ring_pending(self._live()))

    def drain(self, records_max: int = RECORDS_MAX) -> npt.NDArray[Any] | Records:
        """Take what is there, at most ``records_max``: a structured array of shape (n,), or Records; n may be 0.

        Raises LayoutError when a record has another length than its type, KernelError when its window cannot be mapped.
        """
        import numpy as np

        with self._lock:
            ring = self._live()
            pending = int(lib.sonde_ring_pending(ring))
            if self.dtype is not None:
                slot_bytes = 8 + (self.dtype.itemsize + 7) // 8 * 8
                return self._drain_fixed(ring, np, min(records_max, pending // slot_bytes + 1))
            return self._drain_variable(ring, np, min(records_max, pending // 8 + 1), pending)

    def _drain_fixed(self, ring: Any, np: Any, records_max: int) -> npt.NDArray[Any]:
        batch = np.empty(records_max, self.dtype)
        count = lib.sonde_ring_drain_fixed(
            ring, ffi.from_buffer(batch.view(np.uint8)), batch.itemsize, records_max
        )
        if count == -errno.EBADMSG:
            raise LayoutError(
                f"read ring buffer {self._map.name}",
                why=f"a record is not {batch.itemsize} bytes long, as its type says",
                hint="open it without a record type to read records of any length",
            )
        check(count, "read ring buffer", self._map.name)
        return batch[:count]  # type: ignore[no-any-return]

    def _drain_variable(self, ring: Any, np: Any, records_max: int, room: int) -> Records:
        data = np.empty(room, np.uint8)
        offsets, lengths = np.empty(records_max, np.uint64), np.empty(records_max, np.uint32)
        count = lib.sonde_ring_drain_variable(
            ring,
            ffi.from_buffer(data),
            room,
            ffi.from_buffer("uint64_t[]", offsets),
            ffi.from_buffer("uint32_t[]", lengths),
            records_max,
        )
        check(count, "read ring buffer", self._map.name)
        used = int(offsets[count - 1]) + int(lengths[count - 1]) if count else 0
        return Records(data[:used], offsets[:count], lengths[:count])

    async def __aiter__(self) -> AsyncIterator[npt.NDArray[Any] | Records]:
        """Yield batches as they come, until the ring is closed; needs a running asyncio loop."""
        import asyncio  # 40 ms that a reader without it need not pay

        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        # A descriptor of our own: epoll must not be left with one that close() has given to somebody else.
        fd = os.dup(self.fileno())
        loop.add_reader(fd, ready.set)
        # The descriptor does not tell that the ring was closed, which another thread may do.
        wake = functools.partial(loop.call_soon_threadsafe, ready.set)
        self._at_close.append(wake)
        try:
            while not self.closed:
                ready.clear()
                try:
                    batch = self.drain()
                except SondeError:
                    if self.closed:
                        return
                    raise
                if len(batch):
                    yield batch
                else:
                    await ready.wait()
        finally:
            self._at_close.remove(wake)
            loop.remove_reader(fd)
            os.close(fd)

    def close(self) -> None:
        """Unmap the ring; the map stays with its object."""
        with self._lock:
            pointer, self._pointer = self._pointer, None
            if pointer is not None:
                ffi.release(pointer)
        if pointer is not None:
            self._map.release(self)
            for wake in list(self._at_close):
                wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _dtype(record: BtfType | np.dtype[Any]) -> np.dtype[Any]:
    import numpy as np

    from sonde.bpf.dtype import dtype_of

    return record if isinstance(record, np.dtype) else dtype_of(record, record.size)
