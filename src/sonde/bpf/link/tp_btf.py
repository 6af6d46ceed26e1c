"""Raw tracepoints whose arguments the verifier knows the types of."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde.bpf.link.btf_target import attach_to_target, set_target
from sonde.bpf.link.hook import Hook, join_options, needs, optional_integer, require_type, split_options
from sonde.bpf.link.raw_tracepoint import require_cookies

if TYPE_CHECKING:
    from sonde.bpf.link.link import Link
    from sonde.bpf.program import Program, ProgramSpec


@dataclass(frozen=True, slots=True)
class TpBtf(Hook):
    """Attach a tp_btf program; the tracepoint was fixed when it was loaded (``configure``). Linux 5.5.

    ``cookie`` needs Linux 6.10.
    """

    kinds: ClassVar = {"tp_btf": "tp_btf:sys_enter"}

    name: str
    _: KW_ONLY
    cookie: int = 0

    def attach(self, program: Program) -> Link:
        require_type(program, self, "tracing")
        require_cookies(program, self, self.cookie)
        return attach_to_target(program, self, self.name, cookie=self.cookie)

    def configure(self, spec: ProgramSpec) -> None:
        set_target(spec, self.name, section="tp_btf", attach_type="trace_raw_tp")

    def __str__(self) -> str:
        return join_options(f"tp_btf:{self.name}", cookie=self.cookie)

    @classmethod
    def parse(cls, text: str, *, kind: str = "tp_btf") -> Self:
        name, options = split_options(text, kind, "cookie")
        if not name:
            raise needs(kind, "the name of a tracepoint", cls.kinds["tp_btf"])
        return cls(name, cookie=optional_integer(options, "cookie") or 0)
