"""Programs on the clsact queueing discipline, which outlives us, and the guardian that does not let it."""

from __future__ import annotations

import errno
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import check
from sonde.bpf.link.attachment import failure
from sonde.errors import NotSupportedError

if TYPE_CHECKING:
    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program

PARENTS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}  # TC_H_CLSACT with TC_H_MIN_INGRESS, TC_H_MIN_EGRESS
CAPABILITY = "CAP_NET_ADMIN CAP_BPF"

_lock = threading.RLock()  # a collection inside may close a link


@dataclass(slots=True)
class Qdisc:
    """The clsact of one interface, while this process has filters there; ``owned`` if it was one of them that made it."""

    filters: int = 0
    owned: bool = False


_qdiscs: dict[tuple[int, int], Qdisc] = {}
"""By network namespace and interface, whose numbers are used again: an entry lives as long as a filter of ours,
whose guardian keeps the namespace."""


class ClsactFilter:
    """A program's filter on clsact, made and taken away by a guardian process (``_libbpf/guardian.c``).

    The guardian removes it when we close, and when we die in any way. It removes the qdisc too, if this process
    made it and nobody else's filter is there.
    """

    __slots__ = ("_guardian", "_key", "_place")

    descriptors: tuple[int, ...] = ()

    def __init__(self, guardian: Any, place: Any, key: tuple[int, int]) -> None:
        self._guardian = guardian
        self._place = place
        self._key = key

    @classmethod
    def attach(cls, program: Program, hook: Hook, *, index: int, direction: str, first: bool) -> ClsactFilter:
        """Attach to one direction of an interface; raises NotSupportedError without clsact in the kernel."""
        place = ffi.new("struct sonde_clsact *")
        place.interface, place.parent = index, PARENTS[direction]
        place.program_fd, place.program_id, place.first = program.fd, program.id, first
        guardian = ffi.new("struct sonde_guardian *")
        key = (os.stat("/proc/thread-self/ns/net").st_ino, index)
        with _lock:
            qdisc = _qdiscs.get(key) or Qdisc()
            place.owns_qdisc = qdisc.owned
            result = lib.sonde_guardian_start(place, guardian)
            if result == 0:
                _qdiscs[key] = qdisc
                qdisc.filters, qdisc.owned = qdisc.filters + 1, bool(place.owns_qdisc)
                return cls(guardian, place, key)
        if -result in (errno.ENOENT, errno.EOPNOTSUPP):
            raise NotSupportedError(
                "TC programs",
                errno=-result,
                operation="attach program",
                subject=f"{program.name} to {hook}",
                provides="CONFIG_NET_XGRESS=y (Linux 6.6), or CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF",
            )
        raise failure(program, hook, result, capability=CAPABILITY)

    def detach(self) -> None:
        with _lock:
            qdisc = _qdiscs[self._key]
            result = lib.sonde_guardian_stop(self._guardian, self._place)
            qdisc.filters -= 1
            if qdisc.filters == 0:
                del _qdiscs[self._key]
        check(result, "remove TC filter from", f"interface {self._place.interface}", capability=CAPABILITY)
