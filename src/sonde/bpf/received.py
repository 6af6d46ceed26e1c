"""Objects that another process loaded: their maps and programs, read through descriptors received from it."""

from __future__ import annotations

import mmap
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Self

from sonde.bpf.handle import Owner
from sonde.bpf.program_info import ProgramInfo
from sonde.errors import SondeError

if TYPE_CHECKING:
    from sonde.bpf.btf import Btf
    from sonde.bpf.knob import Global, Globals
    from sonde.bpf.map import Map, MapShape
    from sonde.bpf.object import ObjectSpec


@dataclass(frozen=True, slots=True)
class ReceivedMap:
    """A map's descriptor, and what the loader says of it: load may have changed it from what the object says."""

    name: str
    fd: int
    type: str
    key_size: int
    value_size: int
    max_entries: int
    flags: int = 0


class ReceivedProgram(ProgramInfo):
    """A program that another process loaded; ``section`` and ``type`` are as libbpf names them."""

    __slots__ = ("_fd", "_owner", "name", "section", "type")

    def __init__(self, name: str, fd: int, owner: Owner, *, section: str = "", type: str = "") -> None:
        self.name, self.section, self.type = name, section, type
        self._fd, self._owner = fd, owner

    @property
    def fd(self) -> int:
        """Give the descriptor; raises SondeError when the object is closed."""
        if self._owner.closed:
            raise SondeError(f"use program {self.name}", why="its object is closed")
        return self._fd

    def __repr__(self) -> str:
        return f"<ReceivedProgram {self.name} {self.type}>"


class Descriptors(Owner):
    """Descriptors that are closed once."""

    __slots__ = ()

    def _free(self, held: Sequence[int]) -> None:
        for fd in held:
            os.close(fd)


class ReceivedObject:
    """The reading side of an object that another process loaded (``sonde.bpf.loaded.Loaded``); a context manager.

    It takes over the descriptors, and closes them at the end. Types come from the object's own content, which is
    parsed here and needs no privileges. Its programs stay loaded as long as their descriptors are open here, and
    attached as long as the other process wants.
    """

    def __init__(
        self,
        spec: ObjectSpec,
        maps: Sequence[ReceivedMap],
        programs: Mapping[str, int],
        *,
        links: Mapping[str, str] | None = None,
    ) -> None:
        """Read the shapes from ``spec``, which the caller closes; ``programs`` are descriptors by name.

        ``links`` are what is attached where, in words. Raises LayoutError or SondeError, with everything closed.
        """
        self._owner = Descriptors((*(each.fd for each in maps), *programs.values()), spec.name)
        self.links: Mapping[str, str] = MappingProxyType(dict(links or {}))
        try:
            self._btf = spec.btf
            self.programs: Mapping[str, ReceivedProgram] = MappingProxyType(
                {name: self._program(spec, name, fd) for name, fd in programs.items()}
            )
            self.maps: Mapping[str, Map] = MappingProxyType(
                {each.name: self._map(spec, each) for each in maps}
            )
            self.variables: Globals = self._live(spec, maps)
        except BaseException:
            self._owner.close()
            raise

    def _program(self, spec: ObjectSpec, name: str, fd: int) -> ReceivedProgram:
        known = spec.programs.get(name)
        if known is None:
            raise SondeError(f"receive program {name}", why=f"object {spec.name} has none of that name")
        return ReceivedProgram(name, fd, self._owner, section=known.section, type=known.type)

    def _map(self, spec: ObjectSpec, received: ReceivedMap) -> Map:
        from sonde.bpf.map import wrap_map

        return wrap_map(_shape(spec, received), received.fd, self._owner)

    def _live(self, spec: ObjectSpec, maps: Sequence[ReceivedMap]) -> Globals:
        from sonde.bpf.knob import VARIABLE, Globals

        found: list[Global] = []
        for each in maps:
            if each.name.startswith((".data", ".bss")):
                found += self._globals(spec, each)
        collected = Globals(found, noun=VARIABLE)
        self._owner.adopt(collected)
        return collected

    def _globals(self, spec: ObjectSpec, section: ReceivedMap) -> list[Global]:
        """Map the section's memory, for reading alone: whoever loaded it writes."""
        from sonde.bpf.btf import DataSec
        from sonde.bpf.knob import VARIABLE, globals_in

        types = self._btf.find(section.name, DataSec) if self._btf is not None else None
        if types is None:
            return []
        memory = mmap.mmap(section.fd, section.value_size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._owner.adopt(memory)
        return globals_in(types, memoryview(memory)[: section.value_size], noun=VARIABLE)

    @property
    def name(self) -> str:
        """Name of the object."""
        return self._owner.name

    @property
    def btf(self) -> Btf | None:
        """Types of the object; None where it was compiled without."""
        return self._btf

    @property
    def closed(self) -> bool:
        """Tell whether it was closed."""
        return self._owner.closed

    def close(self) -> None:
        """Unmap and close everything; what is attached is the other process's. Again is fine."""
        self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self.programs)} programs, {len(self.maps)} maps"
        return f"<ReceivedObject {self.name}: {state}>"


def _shape(spec: ObjectSpec, received: ReceivedMap) -> MapShape:
    known = spec.shape_of(received.name)
    if known.type != received.type or known.key_size != received.key_size:
        raise SondeError(
            f"receive map {received.name}",
            why=f"it is of type {received.type} with keys of {received.key_size} bytes, the object says "
            f"{known.type} with {known.key_size}",
        )
    return replace(
        known, value_size=received.value_size, max_entries=received.max_entries, flags=received.flags
    )
