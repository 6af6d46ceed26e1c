"""The entry and exit of a kernel function, by a trampoline: the cheapest way into one, with typed arguments."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Self

from sonde.bpf.link.btf_target import attach_to_target, set_target
from sonde.bpf.link.hook import Hook, join_options, needs, optional_integer, require_type, split_options
from sonde.errors import AttachError

if TYPE_CHECKING:
    from sonde.bpf.link.link import Link
    from sonde.bpf.program import Program, ProgramSpec

ATTACH_TYPES = {"fentry": "trace_fentry", "fexit": "trace_fexit", "fmod_ret": "modify_return"}


@dataclass(frozen=True, slots=True)
class Fentry(Hook):
    """Attach to a kernel function's entry, its exit, or (``modify``) in the place of its result.

    The function was fixed when the program was loaded (``configure``). x86-64 Linux 5.5, arm64 6.0; ``modify`` only
    at functions that the kernel marks for it, Linux 5.7; ``cookie`` 5.18.
    """

    kinds: ClassVar = {
        "fentry": "fentry:do_unlinkat",
        "fexit": "fexit:do_unlinkat",
        "fmod_ret": "fmod_ret:bpf_modify_return_test",
    }

    function: str
    _: KW_ONLY
    exit: bool = False
    modify: bool = False
    cookie: int = 0

    def __post_init__(self) -> None:
        if self.exit and self.modify:
            raise AttachError("make hook fentry", why="exit and modify exclude each other")

    @property
    def kind(self) -> str:
        """As in SEC(): fentry, fexit or fmod_ret."""
        return "fmod_ret" if self.modify else "fexit" if self.exit else "fentry"

    def attach(self, program: Program) -> Link:
        require_type(program, self, "tracing")
        return attach_to_target(program, self, self.function, cookie=self.cookie)

    def configure(self, spec: ProgramSpec) -> None:
        set_target(spec, self.function, section=self.kind, attach_type=ATTACH_TYPES[self.kind])

    def __str__(self) -> str:
        return join_options(f"{self.kind}:{self.function}", cookie=self.cookie)

    @classmethod
    def parse(cls, text: str, *, kind: str = "fentry") -> Self:
        function, options = split_options(text, kind, "cookie")
        if not function:
            raise needs(kind, "a kernel function", cls.kinds[kind])
        cookie = optional_integer(options, "cookie") or 0
        return cls(function, exit=kind == "fexit", modify=kind == "fmod_ret", cookie=cookie)
