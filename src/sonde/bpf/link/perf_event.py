"""Perf events: a program that runs each time a clock or a counter has come so far, on every CPU."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from sonde._libbpf import ffi, lib
from sonde._libbpf.check import error_for
from sonde.bpf.link.attachment import Several
from sonde.bpf.link.hook import (
    Hook,
    integer,
    join_options,
    needs,
    require_type,
    split_options,
)
from sonde.bpf.link.link import Link
from sonde.bpf.link.perf_source import PerfAttachment, attach_to_event
from sonde.errors import AttachError, KernelError, NotSupportedError, PermissionDeniedError

if TYPE_CHECKING:
    from sonde.bpf.program import Program

HARDWARE, SOFTWARE, RAW = 0, 1, 4  # enum perf_type_id
EVENTS = {
    "cpu-clock": (SOFTWARE, 0),
    "task-clock": (SOFTWARE, 1),
    "page-faults": (SOFTWARE, 2),
    "context-switches": (SOFTWARE, 3),
    "cpu-migrations": (SOFTWARE, 4),
    "minor-faults": (SOFTWARE, 5),
    "major-faults": (SOFTWARE, 6),
    "cycles": (HARDWARE, 0),
    "instructions": (HARDWARE, 1),
    "cache-references": (HARDWARE, 2),
    "cache-misses": (HARDWARE, 3),
    "branches": (HARDWARE, 4),
    "branch-misses": (HARDWARE, 5),
    "bus-cycles": (HARDWARE, 6),
    "ref-cycles": (HARDWARE, 9),
}
FREQUENCY_HZ = 99
"""Not 100: in step with nothing that wakes up a hundred times a second."""
RATE_MAX = Path("/proc/sys/kernel/perf_event_max_sample_rate")
PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")
CPUS_ONLINE = Path("/sys/devices/system/cpu/online")
CAPABILITY = "CAP_PERFMON CAP_BPF"


@dataclass(frozen=True, slots=True)
class PerfEvent(Hook):
    """Attach to samples of an event: ``frequency`` a second and CPU, or one each ``period`` counts of it.

    ``event`` is one of perf's names (``cpu-clock``, ``cycles``), or ``rNNN`` for a raw hardware event in hexadecimal.
    On every CPU that is online, or only on ``cpu``; only in the process ``pid`` with all its threads, those to come
    too (before Linux 5.13 its future children as well). One link holds them all. Linux 4.9; ``cookie`` 5.15.
    """

    kinds: ClassVar = {"perf_event": "perf_event:cpu-clock,frequency=99"}

    event: str = "cpu-clock"
    _: KW_ONLY
    frequency: int | None = None
    period: int | None = None
    pid: int | None = None
    cpu: int | None = None
    cookie: int = 0

    def __post_init__(self) -> None:
        if self.frequency is not None and self.period is not None:
            raise AttachError("make hook perf_event", why="frequency and period exclude each other")
        for name, value in (("frequency", self.frequency), ("period", self.period)):
            if value is not None and value < 1:
                raise AttachError("make hook perf_event", why=f"{name} is at least 1, not {value}")
        _ = self._type_and_config()

    def attach(self, program: Program) -> Link:
        require_type(program, self, "perf_event")
        parts: list[PerfAttachment] = []
        try:
            for descriptor in self._open(program):
                parts.append(attach_to_event(program, self, descriptor, cookie=self.cookie))
        except BaseException:
            Several(parts).detach()
            raise
        if not parts:
            raise self._no_process(program)
        return Link(program, self, Several(parts))

    def _open(self, program: Program) -> Iterator[int]:
        if self.pid is None:
            online = online_cpus()
            if self.cpu is not None and self.cpu not in online:
                raise self._not_online()
            for cpu in online if self.cpu is None else [self.cpu]:
                result = self._open_one(-1, cpu)
                # A CPU may go offline between the list and here.
                if result == -errno.ENODEV and self.cpu is None:
                    continue
                yield self._checked(program, result)
            return
        cpu = -1 if self.cpu is None else self.cpu
        seen: set[int] = set()
        # A thread that starts meanwhile is inherited from one that has its event, or is in the next list.
        while new := sorted(set(_threads(self.pid)) - seen):
            for tid in new:
                seen.add(tid)
                result = self._open_one(tid, cpu, inherit=True)
                if result != -errno.ESRCH:
                    yield self._checked(program, result)

    def attach_disabled(self, program: Program, cpu: int) -> PerfAttachment | None:
        """Attach on one CPU; the event counts once it is enabled. None where the CPU is offline.

        The caller detaches it. Raises NotSupportedError where the machine does not count such events.
        """
        result = self._open_one(-1, cpu, is_disabled=True)
        if result == -errno.ENODEV and cpu not in online_cpus():
            return None
        return attach_to_event(program, self, self._checked(program, result), cookie=self.cookie)

    def _open_one(self, tid: int, cpu: int, *, inherit: bool = False, is_disabled: bool = False) -> int:
        event = ffi.new("struct sonde_perf_event *")
        event.type, event.config = self._type_and_config()
        event.is_frequency = self.period is None
        event.period = self.period or self.frequency or FREQUENCY_HZ
        event.pid, event.cpu = tid, cpu
        event.inherit = event.inherit_thread = inherit
        event.is_disabled = is_disabled
        result = int(lib.sonde_perf_event_open(event))
        if result == -errno.EINVAL and inherit:
            event.inherit_thread = False  # unknown before Linux 5.13 (commit 2b26f0aa0049)
            result = int(lib.sonde_perf_event_open(event))
        return result

    def _checked(self, program: Program, result: int) -> int:
        if result >= 0:
            return result
        raise self._explain(program, -result)

    def _explain(self, program: Program, number: int) -> KernelError | AttachError:
        subject = f"{program.name} to {self}"
        if (
            number in (errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV)
            and self._type_and_config()[0] != SOFTWARE
        ):
            return NotSupportedError(
                f"hardware event {self.event}",
                errno=number,
                operation="attach program",
                subject=subject,
                why="this machine does not count it (virtual machines often have no counters)",
                provides="a CPU with performance counters, or the event cpu-clock",
            )
        if (
            number == errno.EINVAL
            and self.period is None
            and (limit := _number_in(RATE_MAX)) < (self.frequency or 0)
        ):
            hint = f"the kernel allows {limit} a second: sysctl kernel.perf_event_max_sample_rate"
            return AttachError(f"attach program {subject}", why="the frequency is too high", hint=hint)
        if number == errno.EACCES and _number_in(PARANOID) > 2:
            return PermissionDeniedError(
                number,
                operation="attach program",
                subject=subject,
                capability="CAP_SYS_ADMIN",
                why="kernel.perf_event_paranoid is 3, with which Debian's kernels take no other capability for it",
                hint="sysctl kernel.perf_event_paranoid=2",
            )
        return error_for(number, "attach program", subject, capability=CAPABILITY)

    def _not_online(self) -> AttachError:
        hint = f"online are {CPUS_ONLINE.read_text().strip()}"
        return AttachError(
            f"attach to {self}", why=f"CPU {self.cpu} is not online", hint=hint, hook=str(self)
        )

    def _no_process(self, program: Program) -> AttachError:
        why = "there is no such process" if self.pid is not None else "no CPU is online"
        return AttachError(
            f"attach program {program.name} to {self}", why=why, program=program.name, hook=str(self)
        )

    def _type_and_config(self) -> tuple[int, int]:
        if self.event in EVENTS:
            return EVENTS[self.event]
        digits = self.event[1:]
        if (
            self.event.startswith("r")
            and digits
            and all(digit in "0123456789abcdefABCDEF" for digit in digits)
        ):
            return RAW, int(digits, 16)
        hint = f"valid: {', '.join(EVENTS)}, or rNNN for a raw hardware event"
        raise AttachError("make hook perf_event", why=f"there is no event {self.event}", hint=hint)

    def __str__(self) -> str:
        cpu = "" if self.cpu is None else str(self.cpu)
        return join_options(
            f"perf_event:{self.event}",
            frequency=self.frequency,
            period=self.period,
            pid=self.pid,
            cpu=cpu,
            cookie=self.cookie,
        )

    @classmethod
    def parse(cls, text: str, *, kind: str = "perf_event") -> Self:
        event, options = split_options(text, kind, "frequency", "period", "pid", "cpu", "cookie")
        if not event:
            raise needs(kind, "an event", cls.kinds["perf_event"])
        numbers = {key: integer(value, key) for key, value in options.items()}
        return cls(event, **numbers)


def online_cpus() -> list[int]:
    """The CPUs that run now: ``0-3,6`` in the kernel's words."""
    cpus: list[int] = []
    for part in CPUS_ONLINE.read_text().strip().split(","):
        first, _, last = part.partition("-")
        cpus.extend(range(int(first), int(last or first) + 1))
    return cpus


def _threads(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except FileNotFoundError:
        return []


def _number_in(path: Path) -> int:
    try:
        return int(path.read_text())
    except OSError:
        return 0
