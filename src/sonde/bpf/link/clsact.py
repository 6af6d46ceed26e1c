"""Programs on the clsact queueing discipline, which outlives us, and the guardian that does not let it."""

from __future__ import annotations

import errno
import os
import threading
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

_qdiscs: set[tuple[int, int]] = set()
"""(network namespace, interface) where the qdisc is of this process's making: its last filter takes it away."""
_lock = threading.Lock()


class ClsactFilter:
    """A program's filter on clsact, made and taken away by a guardian process (``_libbpf/guardian.c``).

    The guardian removes it when we close, and when we die in any way. It removes the qdisc too, if this process
    made it and nobody else's filter is there.
    """

    __slots__ = ("_guardian", "_place", "_qdisc")

    descriptors: tuple[int, ...] = ()

    def __init__(self, guardian: Any, place: Any, qdisc: tuple[int, int]) -> None:
        self._guardian = guardian
        self._place = place
        self._qdisc = qdisc

    @classmethod
    def attach(cls, program: Program, hook: Hook, *, index: int, direction: str, first: bool) -> ClsactFilter:
        """Attach to one direction of an interface; raises NotSupportedError without clsact in the kernel."""
        place = ffi.new("struct sonde_clsact *")
        place.interface, place.parent = index, PARENTS[direction]
        place.program_fd, place.program_id, place.first = program.fd, program.id, first
        guardian = ffi.new("struct sonde_guardian *")
        qdisc = (os.stat("/proc/thread-self/ns/net").st_ino, index)
        with _lock:
            place.owns_qdisc = qdisc in _qdiscs
            result = lib.sonde_guardian_start(place, guardian)
            if result == 0 and place.owns_qdisc:
                _qdiscs.add(qdisc)
        if result == 0:
            return cls(guardian, place, qdisc)
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
            result = lib.sonde_guardian_stop(self._guardian, self._place)
            if self._place.qdisc_removed:
                _qdiscs.discard(self._qdisc)
        check(result, "remove TC filter from", f"interface {self._place.interface}", capability=CAPABILITY)
