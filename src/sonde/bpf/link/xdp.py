"""XDP: packets as they arrive, before the kernel has made anything of them."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Self, get_args

from sonde._libbpf import lib
from sonde.bpf.link.attachment import KernelLink, create_link, failure
from sonde.bpf.link.hook import Hook, join_options, needs, require_type, split_options
from sonde.bpf.link.interface import interface_index, interface_name, name_or_index
from sonde.bpf.link.link import Link
from sonde.bpf.link.xdp_occupant import MODES as FLAGS
from sonde.bpf.link.xdp_occupant import xdp_occupants
from sonde.errors import AttachError, NotSupportedError

if TYPE_CHECKING:
    from sonde.bpf.link.attachment import Attachment
    from sonde.bpf.program import Program, ProgramSpec

Mode = Literal["auto", "native", "generic", "offload"]
MODES: tuple[Mode, ...] = get_args(Mode)
CAPABILITY = "CAP_NET_ADMIN CAP_BPF"

OCCUPIED = (errno.EBUSY, errno.EEXIST)
"""A program in the same mode, held by a link or not; one in another mode."""

DRIVER_CANNOT = (errno.EOPNOTSUPP, errno.EINVAL, errno.ERANGE)
"""How drivers decline: no XDP at all, or not with this MTU, these queues, this program."""


class XdpLink(Link):
    """A program on an interface; ``mode`` is what it got: native, generic or offload."""

    __slots__ = ("mode",)

    def __init__(self, program: Program, hook: Hook, attachment: Attachment, *, mode: Mode) -> None:
        super().__init__(program, hook, attachment)
        self.mode = mode


@dataclass(frozen=True, slots=True)
class Xdp(Hook):
    """Attach to an interface (its name or number, in the calling thread's network namespace). Linux 5.9.

    ``native`` runs in the driver, ``generic`` in the kernel for any driver and slower, ``offload`` in the card;
    ``auto`` is native, and generic where the driver cannot. The link's ``mode`` says which.
    """

    kinds: ClassVar = {"xdp": "xdp:eth0,mode=native"}

    interface: str | int
    mode: Mode = "auto"

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise AttachError(
                "make hook xdp", why=f"there is no mode {self.mode}", hint=f"valid: {', '.join(MODES)}"
            )

    def attach(self, program: Program) -> XdpLink:
        require_type(program, self, "xdp")
        index = interface_index(self.interface, self)
        modes: tuple[Mode, ...] = ("native", "generic") if self.mode == "auto" else (self.mode,)
        for mode in modes:
            result = create_link(program, index, lib.BPF_XDP, flags=FLAGS[mode])
            if result >= 0:
                return XdpLink(program, self, KernelLink(result), mode=mode)
            if -result not in DRIVER_CANNOT:
                break
        raise self._explain(program, -result, index)

    def configure(self, spec: ProgramSpec) -> None:
        # A card runs what was compiled for it: the kernel has to know which one when it loads the program.
        if self.mode == "offload":
            spec.offload_to(interface_index(self.interface, self))

    def _explain(self, program: Program, number: int, index: int) -> Exception:
        about = {"program": program.name, "hook": str(self)}
        what = f"attach program {program.name} to {self}"
        if number in OCCUPIED:
            occupants = xdp_occupants(index)
            who = f", {occupants[0]}" if occupants else ""
            hint = (
                occupants[0].removal(interface_name(self.interface))
                if occupants
                else "ip link show tells which"
            )
            return AttachError(what, why=f"another XDP program is attached there{who}", hint=hint, **about)
        if number == errno.ENODEV:
            return AttachError(what, why="there is no such network interface", **about)
        if self.mode in ("native", "offload") and number in DRIVER_CANNOT:
            return NotSupportedError(
                f"XDP in mode {self.mode}",
                errno=number,
                operation="attach program",
                subject=f"{program.name} to {self}",
                why="the interface's driver declines",
                provides="mode auto or generic, or an MTU of a page at most",
            )
        return failure(program, self, number, capability=CAPABILITY)

    def __str__(self) -> str:
        return join_options(f"xdp:{self.interface}", mode="" if self.mode == "auto" else self.mode)

    @classmethod
    def parse(cls, text: str, *, kind: str = "xdp") -> Self:
        interface, options = split_options(text, kind, "mode")
        if not interface:
            raise needs(kind, "a network interface", cls.kinds["xdp"])
        return cls(name_or_index(interface), options.get("mode", "auto"))  # type: ignore[arg-type]
