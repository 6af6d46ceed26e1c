"""The hook that a program's own section names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sonde._libbpf import lib
from sonde.bpf.link.link import Link
from sonde.errors import AttachError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


@dataclass(frozen=True, slots=True)
class Section:
    """Attach as SEC() says: ``SEC("tracepoint/syscalls/sys_enter_openat")`` is enough for libbpf.

    Sections that need more than they say (``xdp`` an interface, ``cgroup/…`` a path) raise AttachError.
    """

    def attach(self, program: Program) -> Link:
        return Link(program, self, lib.bpf_program__attach(program.pointer))

    def __str__(self) -> str:
        return "its section"

    @classmethod
    def parse(cls, text: str) -> Self:
        if text:
            raise AttachError("read hook", why=f"a section takes no argument, got {text!r}")
        return cls()
