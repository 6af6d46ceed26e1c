"""User ring buffers: records from Python to programs, which drain them when they run."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any, Self

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check_pointer, error_for
from sonde.errors import SondeError

if TYPE_CHECKING:
    from sonde.bpf.btf import BtfType
    from sonde.bpf.map import Map


class UserRingBuffer:
    """The producer of a user ring buffer (Linux 6.1): a context manager, closed with the object at the latest.

    ``record`` is the BTF type of the records; without one, ``write`` takes bytes of any length. Threads may share it.
    """

    def __init__(self, map: Map, *, record: BtfType | None = None) -> None:
        """Map the ring of ``map`` into this process; raises KernelError."""
        from sonde.bpf.codec import codec_of

        if map.type != "user_ringbuf":
            raise SondeError(f"write map {map.name}", why=f"it is no user ring buffer but of type {map.type}")
        self._codec = None if record is None else codec_of(record)
        pointer = lib.user_ring_buffer__new(map.fd, ffi.NULL)
        check_pointer(pointer, "map the user ring buffer", map.name)
        self._pointer = ffi.gc(pointer, lib.user_ring_buffer__free)
        self._lock = threading.Lock()
        self._map = map
        map.adopt(self)

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._pointer is None

    def write(self, value: Any) -> None:
        """Add one record; raises KernelError when the ring is full (ENOSPC) or smaller than the record (E2BIG)."""
        data = bytes(value) if self._codec is None else self._codec.encode(value)
        with self._lock:
            if self._pointer is None:
                raise SondeError(f"write user ring buffer {self._map.name}", why="it is closed")
            place = lib.user_ring_buffer__reserve(self._pointer, len(data))
            if not place:
                raise self._refused(ffi.errno, len(data))
            ffi.memmove(place, data, len(data))
            lib.user_ring_buffer__submit(self._pointer, place)

    def _refused(self, number: int, length: int) -> Exception:
        size = self._map.max_entries
        whys = {
            errno.ENOSPC: f"it is full, it has {size} bytes (ENOSPC)",
            errno.E2BIG: f"a record of {length} bytes does not fit into its {size} (E2BIG)",
        }
        hint = "let the program drain it, or set max_entries before load()"
        return error_for(
            number, "write user ring buffer", self._map.name, why=whys.get(number, ""), hint=hint
        )

    def close(self) -> None:
        """Unmap the ring; the map stays with its object."""
        with self._lock:
            pointer, self._pointer = self._pointer, None
        if pointer is not None:
            ffi.release(pointer)
            self._map.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
