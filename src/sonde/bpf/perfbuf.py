"""Perf buffers: records from the kernel, one buffer per CPU, for where there are no ring buffers."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.ringbuf import Records
from sonde.errors import SondeError

if TYPE_CHECKING:
    from sonde.bpf.map import Map


class PerfBuffer:
    """The consumer of a perf event array, for kernels and programs without ring buffers; records of any length.

    ``lost`` counts the records that found their CPU's buffer full, as the kernel tells. A context manager.
    """

    def __init__(self, map: Map, *, pages_per_cpu: int = 64) -> None:
        """Open a buffer of ``pages_per_cpu`` pages (a power of two) on every online CPU; raises KernelError."""
        if map.type != "perf_event_array":
            raise SondeError(f"read map {map.name}", why=f"it is no perf event array but of type {map.type}")
        ring = ffi.new("struct sonde_perf_ring **")
        result = lib.sonde_perf_ring_open(map.fd, pages_per_cpu, ring)
        check(result, "open perf buffers of map", map.name, capability="CAP_PERFMON")
        self._pointer = ffi.gc(ring[0], lib.sonde_perf_ring_close)
        self._lock = threading.Lock()
        self._map = map
        self._lost_at_close = 0
        map.adopt(self)

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._pointer is None

    def _live(self) -> Any:
        if self._pointer is None:
            raise SondeError(f"read perf buffer {self._map.name}", why="it is closed")
        return self._pointer

    def fileno(self) -> int:
        """Give a descriptor for poll, select and epoll: readable when there are records."""
        return int(lib.sonde_perf_ring_fd(self._live()))

    @property
    def lost(self) -> int:
        """Records lost so far; complete up to the last ``drain``."""
        with self._lock:
            return (
                self._lost_at_close if self._pointer is None else int(lib.sonde_perf_ring_lost(self._pointer))
            )

    def drain(self) -> Records:
        """Take what is there, CPU by CPU: Records, whose lengths the kernel has rounded up (to 4 mod 8)."""
        import numpy as np

        with self._lock:
            ring = self._live()
            lib.sonde_perf_ring_reset(ring)
            check(lib.sonde_perf_ring_consume(ring), "read perf buffer", self._map.name)
            size = ffi.new("uint64_t *")
            data = lib.sonde_perf_ring_data(ring, size)
            if size[0] == 0:
                return Records(np.empty(0, np.uint8), np.empty(0, np.uint64), np.empty(0, np.uint32))
            count = ffi.new("uint64_t *")
            offsets = lib.sonde_perf_ring_offsets(ring, count)
            lengths = lib.sonde_perf_ring_lengths(ring)
            return Records(
                np.frombuffer(ffi.buffer(data, size[0]), np.uint8).copy(),
                np.frombuffer(ffi.buffer(offsets, count[0] * 8), np.uint64).copy(),
                np.frombuffer(ffi.buffer(lengths, count[0] * 4), np.uint32).copy(),
            )

    def close(self) -> None:
        """Close the buffers; the map stays with its object."""
        with self._lock:
            pointer, self._pointer = self._pointer, None
            if pointer is not None:
                self._lost_at_close = int(lib.sonde_perf_ring_lost(pointer))
                ffi.release(pointer)
        if pointer is not None:
            self._map.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
