"""Nanoseconds that probes on the scheduler's hooks add to a switch and to a wake-up: ``python -m benchmarks.per_switch``.

By the kernel's own statistics of programs, beside empty programs on the same hooks in the same moment: the clock that it
reads twice is in both. Two processes on one CPU hand a byte to and fro, so that each hand-over is a wake-up and a switch.
Medians of several rounds.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks.contenders import floors
from benchmarks.workloads import works
from sonde.bpf import Program, RunStatistics
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run

ROUNDS = 9
SWITCHES = 40_022
KINDS = {"switch": "floor_switch", "wakeup": "floor_wakeup", "waking": "floor_waking"}


@dataclass(frozen=True)
class Measured:
    """A probe's table: which of its programs stand beside which empty one, with which knobs."""

    probe: str
    programs: Mapping[str, str]
    knobs: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """Name the probe with its knobs, as the command line has them."""
        return " ".join((self.probe, *(f"--{name.replace('_', '-')}" for name in self.knobs)))


MEASURED = (
    Measured("runqueue", {"runqueue_switched": "switch", "runqueue_woken": "wakeup"}),
    Measured("offcpu", {"offcpu_switched": "switch", "offcpu_waking": "waking"}),
    Measured("offcpu", {"offcpu_switched": "switch"}, {"no_user": True}),
    Measured("offcpu", {"offcpu_switched": "switch"}, {"no_user": True, "no_kernel": True}),
    Measured("offcpu", {"offcpu_switched": "switch", "offcpu_waking": "waking"}, {"waker": True}),
)


def _spent(programs: Mapping[str, Program]) -> dict[str, tuple[int, int]]:
    return {name: (program.run_time_ns, program.run_count) for name, program in programs.items()}


def one_round(measured: Measured) -> tuple[dict[str, float], float]:
    """Nanoseconds of each program, the empty ones among them, for each time that it ran; and of CPU time, of a switch."""
    with ExitStack() as stack:
        run = stack.enter_context(
            Run(probe(measured.probe), selection=Selection(own=True), values=measured.knobs)
        )
        empty = stack.enter_context(floors.attached(*KINDS.values()))
        programs = {name: run.loaded.programs[name] for name in measured.programs}
        programs |= {kind: empty.programs[name] for kind, name in KINDS.items()}
        stack.enter_context(RunStatistics())
        before = _spent(programs)
        switch_ns = works.switch_ns([], SWITCHES)
        after = _spent(programs)
    added = {
        name: (after[name][0] - before[name][0]) / max(1, after[name][1] - before[name][1])
        for name in programs
    }
    return added, switch_ns


def main() -> None:
    """Print what each program adds."""
    for measured in MEASURED:
        print(measured.title)
        rounds = [one_round(measured) for _ in range(ROUNDS)]
        switch_ns = statistics.median(spent for _, spent in rounds)
        for name, kind in measured.programs.items():
            added = statistics.median(each[name] - each[kind] for each, _ in rounds)
            floor = statistics.median(each[kind] for each, _ in rounds)
            print(f"  {name:22} {added:6.0f} ns a {kind:8} (empty program {floor:.0f} ns)")
        print(f"  (a switch              {switch_ns:6.0f} ns of CPU time)")


if __name__ == "__main__":
    main()
