"""What all maps have in common: identity, types, and reading or writing many entries in one call."""

from __future__ import annotations

import errno
import functools
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check, error_for
from sonde.bpf.codec import Codec, codec_of
from sonde.bpf.handle import Owner
from sonde.errors import SondeError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.bpf.btf import BtfType

    Array = npt.NDArray[Any]

BPF_ANY, BPF_NOEXIST, BPF_EXIST, BPF_F_LOCK = 0, 1, 2, 4

CAPACITY_FIRST, ROOM_FIRST_BYTES = 4096, 64 << 20
"""A reader makes room at first for all entries, where that is not more than so many bytes (or entries); it doubles as
long as there are more. Room that the kernel does not write to takes no memory."""

_uncleared = ffi.new_allocator(should_clear_after_alloc=False)


def _room(size_bytes: int, before: memoryview | None = None) -> memoryview:
    """Make room for so many bytes, which begin with those that were read before."""
    room = memoryview(ffi.buffer(_uncleared("char[]", size_bytes)))
    if before is not None:
        room[: len(before)] = before
    return room


@functools.cache
def possible_cpus() -> int:
    """Count the CPUs that this kernel may ever have online: the width of a per-CPU value."""
    return check(lib.libbpf_num_possible_cpus(), "count the possible CPUs")


@dataclass(frozen=True, slots=True)
class MapShape:
    """What a map is made of; the types are None where BTF does not say. ``inner`` is of the maps in a map of maps."""

    name: str
    type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0
    key_type: BtfType | None = None
    value_type: BtfType | None = None
    inner: MapShape | None = None


class Map:
    """A map in the kernel; closed with its object, or by ``close`` where it was opened by itself.

    Keys and values are decoded by BTF, and are bytes where there is none. ``per_cpu`` maps have one value for
    each possible CPU.
    """

    per_cpu = False
    _full: tuple[int, ...] = (-errno.E2BIG,)

    def __init__(self, shape: MapShape, fd: int, handle: Owner | None) -> None:
        """Wrap a descriptor: the owner's when ``handle`` is given, our own otherwise."""
        self.shape = shape
        self._fd = fd
        self._handle = handle
        self._closed = False

    @property
    def name(self) -> str:
        """Name of the C variable."""
        return self.shape.name

    @property
    def type(self) -> str:
        """Kind of map, as libbpf names it."""
        return self.shape.type

    @property
    def key_size(self) -> int:
        """Bytes of a key."""
        return self.shape.key_size

    @property
    def value_size(self) -> int:
        """Bytes of a value (of one CPU's, in a per-CPU map)."""
        return self.shape.value_size

    @property
    def max_entries(self) -> int:
        """Entries that it can hold; bytes for a ring buffer."""
        return self.shape.max_entries

    @property
    def fd(self) -> int:
        """Give the descriptor; raises SondeError when the map or its object is closed."""
        if self._closed or (self._handle is not None and self._handle.closed):
            raise SondeError(f"use map {self.name}", why="it is closed")
        return self._fd

    @property
    def id(self) -> int:
        """Number that the kernel gave the map."""
        return int(map_info(self.fd).id)

    @functools.cached_property
    def key_codec(self) -> Codec:
        """Codec of the keys."""
        return codec_of(self.shape.key_type, self.key_size)

    @functools.cached_property
    def value_codec(self) -> Codec:
        """Codec of the values."""
        return codec_of(self.shape.value_type, self.value_size)

    @functools.cached_property
    def key_dtype(self) -> np.dtype[Any]:
        """NumPy type of the keys, laid out as in C."""
        from sonde.bpf.dtype import dtype_of

        return dtype_of(self.shape.key_type, self.key_size)

    @functools.cached_property
    def value_dtype(self) -> np.dtype[Any]:
        """NumPy type of the values, laid out as in C."""
        from sonde.bpf.dtype import dtype_of

        return dtype_of(self.shape.value_type, self.value_size)

    @property
    def stride_bytes(self) -> int:
        """Bytes that one entry's value takes in a system call: per-CPU values are each rounded up to eight."""
        return (self.value_size + 7) // 8 * 8 * possible_cpus() if self.per_cpu else self.value_size

    # ---- single entries, as bytes --------------------------------------------------------------------------

    def lookup_bytes(self, key: bytes) -> bytes | None:
        """Read one value; None when the key is not there."""
        value = ffi.new("char[]", self.stride_bytes)
        result = lib.bpf_map_lookup_elem(self.fd, key, value)
        if result == -errno.ENOENT:
            return None
        self._check(result, "read map")
        return bytes(ffi.buffer(value, self.stride_bytes))

    def update_bytes(self, key: bytes | None, value: bytes, flags: int = BPF_ANY) -> None:
        """Write one value; raises KernelError with the size when the map is full."""
        self._check(
            lib.bpf_map_update_elem(self.fd, ffi.NULL if key is None else key, value, flags), "write map"
        )

    def delete_bytes(self, key: bytes) -> bool:
        """Delete one key; False when it was not there."""
        result = lib.bpf_map_delete_elem(self.fd, key)
        if result == -errno.ENOENT:
            return False
        self._check(result, "delete from map")
        return True

    def _check(self, result: int, operation: str) -> None:
        if result >= 0:
            return
        if result in self._full:
            why = f"the map is full, it holds {self.max_entries} entries ({errno.errorcode[-result]})"
            raise error_for(result, operation, self.name, why=why, hint="set max_entries before load()")
        raise error_for(result, operation, self.name, capability="CAP_BPF")

    # ---- many entries ---------------------------------------------------------------------------------------

    def read_bytes(self) -> tuple[memoryview, memoryview, int]:
        """Read all entries by batch system calls: keys, values, count; no Python per entry.

        Entries that are written meanwhile may or may not be among them.
        """
        # A storage has no limit of its own, and 0 for max_entries.
        entry_bytes = self.key_size + self.stride_bytes
        capacity = min(
            self.max_entries or CAPACITY_FIRST, max(CAPACITY_FIRST, ROOM_FIRST_BYTES // entry_bytes)
        )
        keys, values = _room(capacity * self.key_size), _room(capacity * self.stride_bytes)
        cursor, count, total = ffi.new("struct sonde_cursor *"), ffi.new("uint32_t *"), 0
        while True:
            with ffi.from_buffer(keys) as c_keys, ffi.from_buffer(values) as c_values:
                result = lib.sonde_map_read(
                    self.fd,
                    cursor,
                    self.key_size,
                    self.stride_bytes,
                    c_keys + total * self.key_size,
                    c_values + total * self.stride_bytes,
                    capacity - total,
                    count,
                )
            total += count[0]
            if cursor.done:
                break
            if result != -errno.ENOSPC:
                self._check(result, "read map")
            capacity *= 2
            keys = _room(capacity * self.key_size, keys[: total * self.key_size])
            values = _room(capacity * self.stride_bytes, values[: total * self.stride_bytes])
        return keys, values, total

    def to_numpy(self) -> tuple[Array, Array]:
        """Read all entries as arrays: keys of shape (n,), values (n,), or (n, CPUs) for a per-CPU map."""
        import numpy as np

        keys, values, count = self.read_bytes()
        key_array = np.ndarray((count,), self.key_dtype, buffer=keys)
        if not self.per_cpu:
            return key_array, np.ndarray((count,), self.value_dtype, buffer=values)
        cpus = possible_cpus()
        strides = (self.stride_bytes, self.stride_bytes // cpus)
        return key_array, np.ndarray((count, cpus), self.value_dtype, buffer=values, strides=strides)

    def update_many(self, keys: Array, values: Array, *, flags: int = BPF_ANY) -> None:
        """Write all entries of two arrays (as ``to_numpy`` gives them) by batch system calls.

        Raises ValueError when lengths differ, KernelError with the size when the map is full; those before
        the one that failed are written.
        """
        import numpy as np

        key_array = np.ascontiguousarray(keys, dtype=self.key_dtype)
        value_array = self._packed_values(np.asarray(values, dtype=self.value_dtype))
        if len(key_array) != len(value_array):
            raise ValueError(f"update map {self.name}: {len(key_array)} keys, {len(value_array)} values")
        done = ffi.new("uint32_t *")
        result = lib.sonde_map_update(
            self.fd,
            self.key_size,
            self.stride_bytes,
            ffi.from_buffer(key_array.view(np.uint8)),
            ffi.from_buffer(value_array.view(np.uint8)),
            len(key_array),
            flags,
            done,
        )
        self._check(result, "write map")

    def _packed_values(self, values: Array) -> Array:
        import numpy as np

        if not self.per_cpu:
            return np.ascontiguousarray(values)
        cpus = possible_cpus()
        if values.ndim != 2 or values.shape[1] != cpus:
            raise ValueError(
                f"update map {self.name}: per-CPU values have shape (n, {cpus}), got {values.shape}"
            )
        packed = np.zeros((len(values), self.stride_bytes), np.uint8)
        strides = (self.stride_bytes, self.stride_bytes // cpus)
        np.ndarray(values.shape, self.value_dtype, buffer=packed, strides=strides)[...] = values
        return packed

    def delete_many(self, keys: Array) -> int:
        """Delete the keys of an array; gives how many were there."""
        import numpy as np

        key_array = np.ascontiguousarray(keys, dtype=self.key_dtype)
        done = ffi.new("uint32_t *")
        result = lib.sonde_map_delete(
            self.fd, self.key_size, ffi.from_buffer(key_array.view(np.uint8)), len(key_array), done
        )
        self._check(result, "delete from map")
        return int(done[0])

    # ---- life ----------------------------------------------------------------------------------------------

    def adopt(self, child: Any) -> None:
        """Close ``child``, a consumer of this map, before the map's object."""
        if self._handle is not None:
            self._handle.adopt(child)

    def release(self, child: Any) -> None:
        """Forget a consumer that has closed itself."""
        if self._handle is not None:
            self._handle.release(child)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Pin the map into a BPF file system; the pin stays when the map closes."""
        target = os.fspath(path)
        hint = "the path has to lie in a BPF file system (mount -t bpf bpf /sys/fs/bpf)"
        check(lib.bpf_obj_pin(self.fd, target.encode()), "pin map", f"{self.name} to {target}", hint=hint)

    def close(self) -> None:
        """Close a map that was opened by itself; one of an object closes with it."""
        if not self._closed and self._handle is None:
            os.close(self._fd)
        self._closed = True

    def __enter__(self) -> Map:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self.__dict__.get("_handle", self) is None:
            self.close()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.type} of {self.max_entries}>"


def map_info(fd: int) -> Any:
    """Read the kernel's ``struct bpf_map_info`` of a descriptor."""
    info = ffi.new("struct bpf_map_info *")
    size = ffi.new("__u32 *", ffi.sizeof("struct bpf_map_info"))
    check(lib.bpf_map_get_info_by_fd(fd, info, size), "read the information of map", str(fd))
    return info
