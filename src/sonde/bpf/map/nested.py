"""Maps whose values are themselves in the kernel: maps in maps, and arrays of programs."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonde.bpf.map.array import SlotMap
from sonde.bpf.map.hash import HashMap
from sonde.bpf.map.map import Map
from sonde.errors import SondeError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


class _Nested(HashMap):
    """User space writes descriptors into such a map and reads numbers (ids) back."""

    def encode_value(self, value: Any) -> bytes:
        fd = value if isinstance(value, int) else value.fd
        return int(fd).to_bytes(4, "little")


class MapOfMaps(_Nested):
    """A hash or an array of maps.

    Reading gives a Map of its own, which the caller closes; writing takes a Map and waits until no program uses
    the old one any more (Linux 5.0): the way to swap generations.
    """

    def decode_value(self, raw: bytes | memoryview) -> Map:
        from sonde.bpf.map import map_by_id

        return map_by_id(int.from_bytes(raw[:4], "little"), like=self.shape.inner)

    def create_inner(self, name: str = "", *, max_entries: int | None = None) -> Map:
        """Create a map of the shape that this one takes; the caller closes it. Raises KernelError."""
        from sonde.bpf.map import create_map

        inner = self.shape.inner
        if inner is None:
            raise SondeError(f"create an inner map of {self.name}", why="the object does not tell its shape")
        return create_map(replace(inner, name=name, max_entries=max_entries or inner.max_entries))

    def items(self) -> Any:
        """Read all entries once; the caller closes the maps."""
        return super().items()


class HashOfMaps(MapOfMaps):
    """A hash of maps."""


class ArrayOfMaps(MapOfMaps, SlotMap):
    """An array of maps; an empty slot raises KeyError, and can be emptied with ``del``."""


class ProgramArray(_Nested, SlotMap):
    """The targets of tail calls: write a Program, read its id; an empty slot raises KeyError."""

    def decode_value(self, raw: bytes | memoryview) -> Any:
        return int.from_bytes(raw[:4], "little")

    def __setitem__(self, key: Any, value: Program | int) -> None:
        super().__setitem__(key, value)


class CgroupArray(_Nested, SlotMap):
    """cgroups to compare with: write the path of a cgroup (v2) directory; the kernel does not read them back."""

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(value, (str, os.PathLike)):
            super().__setitem__(key, value)
            return
        fd = os.open(value, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            super().__setitem__(key, fd)
        finally:
            os.close(fd)
