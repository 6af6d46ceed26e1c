"""What sonde costs: its processes' CPU time, and the kernel's for its programs."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonde.agent.measurement import Measurement

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def process_cpu_s(pid: int) -> float:
    """Give a process's user and system time, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) * TICK_S


def process_memory_bytes(pid: int) -> int:
    """Give a process's resident memory, 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * PAGE_BYTES
    except OSError:
        return 0


@dataclass(slots=True)
class Cost:
    """Reckons up, interval by interval; ``loader_pid`` is the other process, 0 if there is none.

    The kernel's share is the events of each output times what one costs: as statistics of this machine's runs say
    where there are any, else as the probe's README measured it. A program's time is no part of its process's: most of
    it is spent in the processes that are observed.
    """

    loader_pid: int = 0
    cpu_s: dict[str, float] = field(default_factory=dict)
    memory_bytes: dict[str, int] = field(default_factory=dict)
    program_s: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    start_s: float = 0.0
    _former_s: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)
    _kernel_s: float = 0.0
    _total_s: float = 0.0
    _at: float = field(default_factory=time.monotonic)

    def share(self, measurements: Sequence[Measurement]) -> float:
        """Give what was used since the last call, as a share of one core, and note the figures."""
        self._kernel_s += sum(self._kernel_part(each) for each in measurements)
        used = resource.getrusage(resource.RUSAGE_SELF)
        self.cpu_s["agent"], self.cpu_s["kernel"] = used.ru_utime + used.ru_stime, self._kernel_s
        self.memory_bytes = {"agent": process_memory_bytes(os.getpid())}
        if self.loader_pid:
            self.cpu_s["loader"] = max(self.cpu_s.get("loader", 0.0), process_cpu_s(self.loader_pid))
            self.memory_bytes["loader"] = process_memory_bytes(self.loader_pid)
        now, total_s = time.monotonic(), sum(self.cpu_s.values())
        elapsed, spent = now - self._at, total_s - self._total_s
        self._at, self._total_s = now, total_s
        return max(0.0, spent / elapsed) if elapsed > 0 else 0.0

    def begun(self, measurements: Sequence[Measurement]) -> None:
        """Note what it took to start, which no interval is charged with: ``start_s``."""
        self.share(measurements)
        self.start_s = self._total_s

    def _kernel_part(self, measurement: Measurement) -> float:
        seen = measurement.accounting.seen
        events = max(0, seen - self._seen.get(measurement.name, 0))
        self._seen[measurement.name] = seen
        return events * self._event_ns(measurement) * 1e-9

    def _event_ns(self, measurement: Measurement) -> float:
        if measurement.running is None:
            return measurement.output.cost_ns
        runs = time_ns = 0
        for name, (ran_ns, count) in measurement.running.statistics().items():
            self._note_program((measurement.name, name), ran_ns * 1e-9, count)
            time_ns, runs = time_ns + ran_ns, max(runs, count)
        # Programs of one output each run once for an event: entry and exit.
        return time_ns / runs if runs else measurement.output.cost_ns

    def _note_program(self, program: tuple[str, str], ran_s: float, count: int) -> None:
        """Take a program's figures: those of one that was loaded again go on where the former's ended."""
        former_s, former_count = self._former_s.get(program, (0.0, 0))
        last_s, last_count = self.program_s.get(program, (0.0, 0))
        if former_count + count < last_count:
            former_s, former_count = self._former_s[program] = last_s, last_count
        self.program_s[program] = (former_s + ran_s, former_count + count)
