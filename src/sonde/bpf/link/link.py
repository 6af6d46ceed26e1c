"""What every hook gives: a program attached to it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any, Protocol, Self

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check, check_pointer
from sonde.errors import SondeError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


class Hook(Protocol):
    """A place where a program attaches, as a value; one file each in this folder."""

    def attach(self, program: Program) -> Link:
        """Attach; raises NotSupportedError where this kernel has no such hook."""
        ...

    def __str__(self) -> str: ...

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what ``str`` writes, without the hook's name in front; raises AttachError."""
        ...


class Link:
    """An attached program; ``close`` detaches it, and so do the object's close and garbage collection.

    It is a kernel link or a perf descriptor, so that a killed process leaves nothing attached.
    """

    __slots__ = ("__weakref__", "_lock", "_pointer", "hook", "program")

    def __init__(self, program: Program, hook: Hook, pointer: Any) -> None:
        """Take over a ``struct bpf_link *``; a NULL one raises what errno says."""
        check_pointer(pointer, "attach program", f"{program.name} to {hook}", capability="CAP_BPF CAP_PERFMON")
        self.program = program
        self.hook = hook
        self._pointer = ffi.gc(pointer, lib.bpf_link__destroy)
        self._lock = threading.Lock()

    @property
    def pointer(self) -> Any:
        """Give the ``struct bpf_link *``; raises SondeError when it is closed."""
        if self._pointer is None:
            raise SondeError(f"use link {self.program.name} at {self.hook}", why="it is closed")
        return self._pointer

    @property
    def closed(self) -> bool:
        """Tell whether the program was detached."""
        return self._pointer is None

    @property
    def fd(self) -> int:
        """Descriptor of the link, or of the perf event below it."""
        return int(lib.bpf_link__fd(self.pointer))

    @property
    def id(self) -> int | None:
        """Number that the kernel gave the link; None where a perf event holds the program (before 5.15)."""
        info = ffi.new("struct bpf_link_info *")
        size = ffi.new("__u32 *", ffi.sizeof("struct bpf_link_info"))
        result = lib.bpf_link_get_info_by_fd(self.fd, info, size)
        return None if result < 0 else int(info.id)

    def update(self, program: Program) -> None:
        """Put another program in the place of this one, in one step (bpf_link_update, Linux 5.7)."""
        result = lib.bpf_link__update_program(self.pointer, program.pointer)
        check(result, "replace program", f"{self.program.name} at {self.hook} by {program.name}")
        self.program = program

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Pin the link into a BPF file system: the program stays attached when the link is closed."""
        target = os.fspath(path)
        check(lib.bpf_link__pin(self.pointer, target.encode()), "pin link", f"{self.hook} to {target}")

    def close(self) -> None:
        """Detach; again is fine."""
        with self._lock:
            pointer, self._pointer = self._pointer, None
        if pointer is not None:
            ffi.release(pointer)
            self.program.handle.release(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Link {self.program.name} at {self.hook}{' (closed)' if self.closed else ''}>"
