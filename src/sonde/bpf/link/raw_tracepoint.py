"""Raw tracepoints: the arguments as the kernel passes them, without the tracepoint's record."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sonde._libbpf import lib
from sonde.bpf.link.link import Link
from sonde.errors import AttachError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


@dataclass(frozen=True, slots=True)
class RawTracepoint:
    """Attach a raw_tracepoint program to a tracepoint by its bare name: ``sys_enter``. Linux 4.17."""

    name: str

    def attach(self, program: Program) -> Link:
        pointer = lib.bpf_program__attach_raw_tracepoint(program.pointer, self.name.encode())
        return Link(program, self, pointer)

    def __str__(self) -> str:
        return f"raw_tp:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text:
            raise AttachError("read hook", why="a raw tracepoint needs a name", hint="for example raw_tp:sys_enter")
        return cls(text)
