"""A probe's programs on one interface: by XDP where that can be, by TC where not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sonde.bpf.link.tc import Tc, TcLink
from sonde.bpf.link.xdp import Xdp, XdpLink
from sonde.errors import AttachError, KernelError, PermissionDeniedError, ProbeError, SondeError
from sonde.probe import BARE

if TYPE_CHECKING:
    from sonde.bpf.link import Link
    from sonde.bpf.link.interface import Interface
    from sonde.bpf.program import Program

Direction = Literal["ingress", "egress"]
TYPES = ("xdp", "sched_cls")
"""Types of programs that go to interfaces."""


def direction_of(program: Program) -> Direction:
    """Tell which packets a program sees: XDP what comes in, TC what its section says."""
    return "egress" if program.section.endswith("egress") else "ingress"


@dataclass(frozen=True, slots=True)
class Placed:
    """An interface with a probe's programs on it, and how: ``xdp native``, ``xdp generic``, ``tc (tcx)``, ``tc (clsact)``.

    ``note`` says why it is not as it was asked for; without ingress and egress, why it is not at all. ``number`` grows
    with everything that happens to interfaces, ``is_here`` is off once this one has gone, or is chosen no more.
    """

    interface: Interface
    ingress: str = ""
    egress: str = ""
    note: str = ""
    links: tuple[Link, ...] = ()
    number: int = 0
    is_here: bool = True

    def as_dict(self) -> dict[str, Any]:
        """Give it as plain values."""
        return {
            "interface": self.interface.name,
            "ifindex": self.interface.index,
            "ingress": self.ingress,
            "egress": self.egress,
            "note": self.note,
        }

    @property
    def is_alive(self) -> bool:
        """Tell whether the kernel still has the interface that they were attached to, where it can be asked."""
        return all(link.interface_index != 0 for link in self.links)

    @property
    def is_refused(self) -> bool:
        """Tell whether the interface took no program."""
        return not self.ingress and not self.egress

    def close(self) -> None:
        """Detach; what has gone with its interface is detached already."""
        for link in reversed(self.links):
            link.close()


class Placing:
    """Puts programs on interfaces; ``prefers_tc`` leaves XDP alone."""

    def __init__(self, programs: Mapping[str, Program], *, prefers_tc: bool = False) -> None:
        self._programs = [each for each in programs.values() if each.type in TYPES]
        self._prefers_tc = prefers_tc

    def place(self, interface: Interface) -> Placed:
        """Attach; raises AttachError, with nothing attached, where the interface takes none of what sees a direction."""
        links: list[Link] = []
        try:
            ingress, note = self._attach(self._fitting(interface, "ingress"), interface, links)
            egress, _ = self._attach(self._fitting(interface, "egress"), interface, links)
        except BaseException:
            for link in reversed(links):
                link.close()
            raise
        return Placed(interface, ingress, egress, note, tuple(links))

    def _fitting(self, interface: Interface, direction: Direction) -> list[Program]:
        """Give the programs that could see this direction there, the best first."""
        fitting = [
            each
            for each in self._programs
            if direction_of(each) == direction and each.name.endswith(BARE) != interface.has_ethernet
        ]
        by_tc = [each for each in fitting if each.type == "sched_cls"]
        by_xdp = [each for each in fitting if each.type == "xdp" and not (self._prefers_tc and by_tc)]
        if not fitting and any(direction_of(each) == direction for each in self._programs):
            raise _refused(interface, "its packets have no Ethernet header, which the probe needs", "")
        return [*by_xdp, *by_tc]

    def _attach(
        self, programs: Iterable[Program], interface: Interface, links: list[Link]
    ) -> tuple[str, str]:
        """Attach the first that can be; gives how, and why not another."""
        refusals: list[SondeError] = []
        for program in programs:
            try:
                link = _attached(program, interface)
            except PermissionDeniedError:
                raise
            except (KernelError, ProbeError) as error:
                refusals.append(error)
                continue
            links.append(link)
            return how(link), _why_not(refusals)
        if refusals:
            raise _refused(interface, _reason(refusals[-1]), refusals[-1].hint) from refusals[-1]
        return "", ""


def how(link: Link) -> str:
    """Say how a program is attached to its interface."""
    if isinstance(link, XdpLink):
        return f"xdp {link.mode}"
    assert isinstance(link, TcLink), "programs go to interfaces by XDP and TC"
    return f"tc ({link.mechanism})"


def _attached(program: Program, interface: Interface) -> Link:
    # By its number: the name may be another's by now.
    if program.type == "xdp":
        return program.attach(Xdp(interface.index))
    return program.attach(Tc(interface.index, direction_of(program)))


def _reason(error: SondeError) -> str:
    return error.why or str(error)


def _why_not(refusals: list[SondeError]) -> str:
    return f"not by xdp: {_reason(refusals[0])}" if refusals else ""


def _refused(interface: Interface, why: str, hint: str) -> AttachError:
    return AttachError(f"attach to interface {interface.name}", why=why, hint=hint)
