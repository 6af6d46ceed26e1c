"""Security hooks: what the kernel asks its security modules before it does something."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from sonde.bpf.link.btf_target import attach_to_target, set_target
from sonde.bpf.link.hook import Hook, needs, require_type, split_options
from sonde.errors import NotSupportedError

if TYPE_CHECKING:
    from sonde.bpf.link.link import Link
    from sonde.bpf.program import Program, ProgramSpec

ACTIVE = Path("/sys/kernel/security/lsm")


@dataclass(frozen=True, slots=True)
class Lsm(Hook):
    """Attach an LSM program to a hook such as ``file_open``; what it returns decides. Linux 5.7.

    The hook was fixed when the program was loaded (``configure``). Raises NotSupportedError where ``bpf`` is not
    among the active security modules: the kernel would attach the program and never call it.
    """

    kinds: ClassVar = {"lsm": "lsm:file_open"}

    hook: str

    def attach(self, program: Program) -> Link:
        require_type(program, self, "lsm")
        active = active_modules()
        if active and "bpf" not in active:
            raise NotSupportedError(
                "BPF security hooks",
                operation="attach program",
                subject=f"{program.name} to {self}",
                why=f"bpf is not among the active security modules ({', '.join(active)})",
                provides=f"the kernel parameter lsm={','.join(active)},bpf",
            )
        return attach_to_target(program, self, self.hook)

    def configure(self, spec: ProgramSpec) -> None:
        set_target(spec, self.hook, section="lsm", attach_type="lsm_mac")

    def __str__(self) -> str:
        return f"lsm:{self.hook}"

    @classmethod
    def parse(cls, text: str, *, kind: str = "lsm") -> Self:
        hook, _ = split_options(text, kind)
        if not hook:
            raise needs(kind, "a security hook", cls.kinds["lsm"])
        return cls(hook)


def active_modules() -> list[str]:
    """Name the kernel's active security modules; empty where securityfs is not mounted, and so cannot say."""
    try:
        return ACTIVE.read_text().strip().split(",")
    except OSError:
        return []
