"""A map of an opened object, before it is created."""

from __future__ import annotations

import os
from typing import Any

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.handle import ObjectHandle


class MapSpec:
    """A map of an opened object, which can still be changed."""

    __slots__ = ("_handle", "_pointer")

    def __init__(self, handle: ObjectHandle, pointer: Any) -> None:
        self._handle = handle
        self._pointer = pointer

    @property
    def pointer(self) -> Any:
        """Give the ``struct bpf_map *``; raises SondeError when the object is closed."""
        _ = self._handle.pointer
        return self._pointer

    @property
    def name(self) -> str:
        """Name of the C variable; sections of globals are called ``.rodata``, ``.data``, ``.bss``, ``.kconfig``."""
        name: str = ffi.string(lib.bpf_map__name(self.pointer)).decode()
        # libbpf puts the object's name, cut to eight letters, before a section of globals.
        return name[name.index(".") :] if self.is_internal and "." in name else name

    @property
    def is_internal(self) -> bool:
        """Whether libbpf made the map, for a section of globals."""
        return bool(lib.bpf_map__is_internal(self.pointer))

    @property
    def type(self) -> str:
        """Kind of map, as libbpf names it: ``hash``, ``percpu_array``, ``ringbuf``."""
        text = lib.libbpf_bpf_map_type_str(lib.bpf_map__type(self.pointer))
        return ffi.string(text).decode() if text else "unknown"

    @property
    def key_size(self) -> int:
        """Bytes of a key."""
        return int(lib.bpf_map__key_size(self.pointer))

    @property
    def value_size(self) -> int:
        """Bytes of a value (of one CPU's, in a per-CPU map); can be set, as for maps of stacks: 8 a frame."""
        return int(lib.bpf_map__value_size(self.pointer))

    @value_size.setter
    def value_size(self, value: int) -> None:
        check(lib.bpf_map__set_value_size(self.pointer, value), "set value_size of map", self.name)

    @property
    def max_entries(self) -> int:
        """Entries that it can hold; bytes for a ring buffer; can be set."""
        return int(lib.bpf_map__max_entries(self.pointer))

    @max_entries.setter
    def max_entries(self, value: int) -> None:
        check(lib.bpf_map__set_max_entries(self.pointer, value), "set max_entries of map", self.name)

    @property
    def flags(self) -> int:
        """BPF_F_* flags of the map; can be set."""
        return int(lib.bpf_map__map_flags(self.pointer))

    @flags.setter
    def flags(self, value: int) -> None:
        check(lib.bpf_map__set_map_flags(self.pointer, value), "set the flags of map", self.name)

    @property
    def pin_path(self) -> str | None:
        """Path in a BPF file system where load() finds the map, or else leaves it; can be set, None for nowhere."""
        path = lib.bpf_map__pin_path(self.pointer)
        return ffi.string(path).decode() if path else None

    @pin_path.setter
    def pin_path(self, path: str | os.PathLike[str] | None) -> None:
        target = ffi.NULL if path is None else os.fspath(path).encode()
        check(lib.bpf_map__set_pin_path(self.pointer, target), "set the pin path of map", self.name)

    @property
    def autocreate(self) -> bool:
        """Whether load() creates the map; can be set: programs that use it must not be loaded then."""
        return bool(lib.bpf_map__autocreate(self.pointer))

    @autocreate.setter
    def autocreate(self, value: bool) -> None:
        check(lib.bpf_map__set_autocreate(self.pointer, value), "set autocreate of map", self.name)

    @property
    def fd(self) -> int:
        """Descriptor after load, negative before."""
        return int(lib.bpf_map__fd(self.pointer))

    def reuse(self, fd: int) -> None:
        """Let load() take the map behind ``fd`` (it is duplicated) in the place of a new one."""
        check(lib.bpf_map__reuse_fd(self.pointer, fd), "reuse a descriptor for map", self.name)

    def __repr__(self) -> str:
        return f"<MapSpec {self.name} {self.type}>"
