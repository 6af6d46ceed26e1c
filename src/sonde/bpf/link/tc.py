"""Traffic control: packets of an interface on their way in or out, as the kernel's socket buffers."""

from __future__ import annotations

import errno
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self, get_args

from sonde._libbpf import lib
from sonde.bpf.link.attachment import KernelLink, create_link, failure, require_feature
from sonde.bpf.link.clsact import CAPABILITY, ClsactFilter
from sonde.bpf.link.hook import Hook, join_options, needs, require_type, split_options
from sonde.bpf.link.interface import interface_index, name_or_index
from sonde.bpf.link.link import Link
from sonde.errors import AttachError

if TYPE_CHECKING:
    from sonde.bpf.link.attachment import Attachment
    from sonde.bpf.program import Program

Direction = Literal["ingress", "egress"]
Mechanism = Literal["tcx", "clsact"]
DIRECTIONS: tuple[Direction, ...] = get_args(Direction)
FIRST = 1 << 3  # BPF_F_BEFORE, relative to nothing
NO_INTERFACE = 0x7FFFFFFF


class TcLink(Link):
    """A program on an interface's traffic; ``mechanism`` is what it got: tcx or clsact."""

    __slots__ = ("mechanism",)

    def __init__(self, program: Program, hook: Hook, attachment: Attachment, *, mechanism: Mechanism) -> None:
        super().__init__(program, hook, attachment)
        self.mechanism = mechanism


@dataclass(frozen=True, slots=True)
class Tc(Hook):
    """Attach to the incoming or outgoing packets of an interface (name or number, in the thread's namespace).

    By a TCX link (Linux 6.6), else by a filter on clsact that a guardian process takes away when we end: then the
    link has no descriptor and cannot be pinned or updated. ``mechanism`` insists on one of them. The program runs
    behind those of others, ``first`` before them: one that returns TC_ACT_OK, not TC_ACT_UNSPEC, hides the packet
    from those behind it.
    """

    kinds: ClassVar = {"tc": "tc:eth0:egress"}

    interface: str | int
    direction: Direction = "ingress"
    _: KW_ONLY
    first: bool = False
    mechanism: Mechanism | None = None

    def __post_init__(self) -> None:
        if self.direction not in DIRECTIONS:
            hint = f"valid: {', '.join(DIRECTIONS)}"
            raise AttachError("make hook tc", why=f"there is no direction {self.direction}", hint=hint)
        if self.mechanism not in (None, *get_args(Mechanism)):
            hint = f"valid: {', '.join(get_args(Mechanism))}"
            raise AttachError("make hook tc", why=f"there is no mechanism {self.mechanism}", hint=hint)

    def attach(self, program: Program) -> TcLink:
        require_type(program, self, "sched_cls")
        index = interface_index(self.interface, self)
        if self.mechanism != "clsact":
            result = self._attach_tcx(program, index)
            if result >= 0:
                return TcLink(program, self, KernelLink(result), mechanism="tcx")
            if result != -errno.EINVAL or self._attach_tcx(program, NO_INTERFACE) == -errno.ENODEV:
                raise self._explain(program, -result)
            if self.mechanism == "tcx":
                require_feature("tcx", program, self)
        held = ClsactFilter.attach(program, self, index=index, direction=self.direction, first=self.first)
        return TcLink(program, self, held, mechanism="clsact")

    def _attach_tcx(self, program: Program, index: int) -> int:
        """A descriptor or a negative errno; a kernel that knows TCX says ENODEV where there is no interface."""
        attach_type = lib.BPF_TCX_INGRESS if self.direction == "ingress" else lib.BPF_TCX_EGRESS
        return create_link(program, index, attach_type, flags=FIRST if self.first else 0)

    def _explain(self, program: Program, number: int) -> Exception:
        about = {"program": program.name, "hook": str(self)}
        what = f"attach program {program.name} to {self}"
        if number == errno.EEXIST:
            return AttachError(what, why="this program is attached there already", **about)
        if number == errno.ENODEV:
            return AttachError(what, why="there is no such network interface", **about)
        return failure(program, self, number, capability=CAPABILITY)

    def __str__(self) -> str:
        first = "yes" if self.first else ""
        return join_options(f"tc:{self.interface}:{self.direction}", first=first, mechanism=self.mechanism)

    @classmethod
    def parse(cls, text: str, *, kind: str = "tc") -> Self:
        place, options = split_options(text, kind, "first", "mechanism")
        interface, _, direction = place.partition(":")
        if not interface:
            raise needs(kind, "a network interface and a direction", cls.kinds["tc"])
        first = options.get("first", "no")
        if first not in ("yes", "no"):
            raise AttachError("read hook tc", why=f"first is yes or no, not {first}")
        return cls(
            name_or_index(interface),
            direction or "ingress",  # type: ignore[arg-type]
            first=first == "yes",
            mechanism=options.get("mechanism"),  # type: ignore[arg-type]
        )
