"""BPF objects: opened and editable (ObjectSpec), loaded into the kernel (Object)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

from sonde._libbpf import ffi, lib, log
from sonde._libbpf.check import check_pointer
from sonde.bpf import elf, safe
from sonde.bpf.handle import ObjectHandle
from sonde.bpf.map.spec import MapSpec
from sonde.bpf.program import Program, ProgramSpec
from sonde.bpf.verifier_log import VerifierLog
from sonde.errors import SondeError

if TYPE_CHECKING:
    from sonde.bpf.btf import Btf
    from sonde.bpf.knob import Globals
    from sonde.bpf.link import Link
    from sonde.bpf.map import Map, MapShape


LEGACY_MAPS_HINT = (
    'declare them with their types: struct { __uint(type, …); __type(key, …); … } name SEC(".maps")'
)


class ObjectSpec:
    """A BPF object that was read and not yet loaded; nothing of it is in the kernel.

    A context manager; ``load`` consumes it. Edit it through ``programs``, ``maps`` and ``knobs``.
    """

    def __init__(self, handle: ObjectHandle) -> None:
        """Take over an opened object; use ``open``."""
        self._handle = handle
        self.programs: Mapping[str, ProgramSpec] = MappingProxyType(
            {spec.name: spec for spec in (ProgramSpec(handle, pointer) for pointer in _programs(handle))}
        )
        self.maps: Mapping[str, MapSpec] = MappingProxyType(
            {spec.name: spec for spec in (MapSpec(handle, pointer) for pointer in _maps(handle))}
        )
        self._knobs: Globals | None = None

    @classmethod
    def open(
        cls,
        source: str | os.PathLike[str] | bytes,
        *,
        name: str | None = None,
        strict: bool = False,
        sha256: str | None = None,
    ) -> Self:
        """Read an object from a file, safely (see ``sonde.bpf.safe``), or from bytes.

        ``strict`` refuses any permission for group and others; ``sha256`` pins the content, in the place of
        the owner check. Raises UnsafeObjectError, or KernelError where libbpf cannot make sense of it.
        """
        if isinstance(source, (bytes, bytearray, memoryview)):
            name = name or "object"
            content = bytes(source)
            if sha256 is not None:
                safe.check_digest(content, sha256, path=name)
        else:
            content = safe.read_object(source, strict=strict, sha256=sha256)
            name = name or os.path.basename(os.fspath(source)).split(".")[0]
        return cls(_open(content, name))

    @property
    def name(self) -> str:
        """Name of the object: of its file, unless another was given."""
        return self._handle.name

    @property
    def btf(self) -> Btf | None:
        """Types of the object; None where it was compiled without."""
        return self._handle.btf

    @property
    def knobs(self) -> Globals:
        """The ``const volatile`` globals by name; setting ``value`` changes them until load."""
        if self._knobs is None:
            from sonde.bpf.globals import knobs_of

            self._knobs = knobs_of(self._handle)
        return self._knobs

    def shape_of(self, map: str) -> MapShape:
        """Tell what a map is made of; complete before load, which loses types that the kernel does not take."""
        from sonde.bpf.map import shape_of

        return shape_of(self._handle, self.maps[map])

    def load(self) -> Object:
        """Load what is to be loaded into the kernel; the spec is spent, whatever comes of it.

        Raises VerifierError, PermissionDeniedError, NotSupportedError or KernelError.
        """
        handle = self._handle
        if self._knobs is not None:
            # The kernel freezes them: a write from here on would be a segmentation fault.
            self._knobs.close()
            handle.release(self._knobs)
        # libbpf forgets the types of those maps whose types the kernel does not take.
        shapes = {name: self.shape_of(name) for name in self.maps}
        verifier_log = VerifierLog(_programs(handle))
        with log.capture() as messages:
            result = lib.bpf_object__load(handle.pointer)
        if result < 0:
            from sonde.bpf.load_error import load_error

            error = load_error(result, self, messages, verifier_log.text)
            handle.close()
            raise error
        # The spec must not close what is now the Object's.
        self._handle = _Spent(handle.name)
        return Object(handle, shapes)

    def close(self) -> None:
        """Free the object, unless it was loaded."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ObjectSpec {self.name}: {len(self.programs)} programs, {len(self.maps)} maps>"


class Object:
    """A BPF object in the kernel: programs, maps and live globals; a context manager.

    ``close`` detaches its links and frees everything; so does garbage collection.
    """

    def __init__(self, handle: ObjectHandle, shapes: Mapping[str, MapShape]) -> None:
        """Take over a loaded object; use ``ObjectSpec.load``."""
        from sonde.bpf.globals import variables_of
        from sonde.bpf.map import map_of

        self._handle = handle
        self.programs: Mapping[str, Program] = MappingProxyType(
            {
                program.name: program
                for program in (Program(handle, pointer) for pointer in _programs(handle))
                if lib.bpf_program__fd(program.pointer) >= 0
            }
        )
        self.maps: Mapping[str, Map] = MappingProxyType(
            {
                map_spec.name: map_of(handle, map_spec, shapes[map_spec.name])
                for map_spec in (MapSpec(handle, pointer) for pointer in _maps(handle))
                if map_spec.autocreate
            }
        )
        self.variables: Globals = variables_of(handle)

    @property
    def name(self) -> str:
        """Name of the object."""
        return self._handle.name

    @property
    def btf(self) -> Btf | None:
        """Types of the object; None where it was compiled without."""
        return self._handle.btf

    @property
    def links(self) -> list[Link]:
        """What is attached, oldest first."""
        from sonde.bpf.link import Link

        return [child for child in self._handle.children() if isinstance(child, Link)]

    @property
    def closed(self) -> bool:
        """Tell whether the object was closed."""
        return self._handle.closed

    def attach_all(self) -> list[Link]:
        """Attach every loaded program as its section says; on an error none stays attached."""
        links: list[Link] = []
        try:
            for program in self.programs.values():
                links.append(program.attach())
        except BaseException:
            for link in reversed(links):
                link.close()
            raise
        return links

    def close(self) -> None:
        """Detach and free everything; again is fine."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self.closed else f"{len(self.programs)} programs, {len(self.maps)} maps"
        return f"<Object {self.name}: {state}>"


class _Spent(ObjectHandle):
    """What a spec holds after its load."""

    __slots__ = ()

    def __init__(self, name: str) -> None:
        super().__init__(ffi.NULL, name)

    @property
    def pointer(self) -> Any:
        raise SondeError(f"use the spec of object {self.name}", why="it was loaded", hint="use the Object")

    def close(self) -> None:
        return


def _programs(handle: ObjectHandle) -> Iterator[Any]:
    pointer = lib.bpf_object__next_program(handle.pointer, ffi.NULL)
    while pointer:
        yield pointer
        pointer = lib.bpf_object__next_program(handle.pointer, pointer)


def _maps(handle: ObjectHandle) -> Iterator[Any]:
    pointer = lib.bpf_object__next_map(handle.pointer, ffi.NULL)
    while pointer:
        yield pointer
        pointer = lib.bpf_object__next_map(handle.pointer, pointer)


def _open(content: bytes, name: str) -> ObjectHandle:
    elf.check(content, path=name)
    options = ffi.new("struct bpf_object_open_opts *")
    options.sz = ffi.sizeof("struct bpf_object_open_opts")
    c_name = ffi.new("char[]", name.encode(errors="replace"))
    options.object_name = c_name
    with log.capture() as messages:
        pointer = lib.bpf_object__open_mem(content, len(content), options)
    why = messages[-1].removeprefix("libbpf: ") if messages else ""
    hint = LEGACY_MAPS_HINT if "legacy map definitions" in why else ""
    handle = ObjectHandle(check_pointer(pointer, "open object", name, why=why, hint=hint), name)
    counts = {
        spec.name: spec.instruction_count for spec in (ProgramSpec(handle, p) for p in _programs(handle))
    }
    try:
        safe.check_instruction_counts(counts, path=name)
    except BaseException:
        handle.close()
        raise
    return handle
