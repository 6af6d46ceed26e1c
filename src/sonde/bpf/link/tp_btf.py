"""Raw tracepoints whose arguments the verifier knows the types of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from sonde._libbpf import lib
from sonde.bpf.link.link import Link
from sonde.errors import AttachError

if TYPE_CHECKING:
    from sonde.bpf.program import Program


@dataclass(frozen=True, slots=True)
class TpBtf:
    """Attach a tp_btf program; the tracepoint was fixed when it was loaded (``attach_target``). Linux 5.5."""

    name: str

    def attach(self, program: Program) -> Link:
        return Link(program, self, lib.bpf_program__attach_trace(program.pointer))

    def __str__(self) -> str:
        return f"tp_btf:{self.name}"

    @classmethod
    def parse(cls, text: str) -> Self:
        if not text:
            raise AttachError("read hook", why="tp_btf needs a name", hint="for example tp_btf:sys_enter")
        return cls(text)
