"""Nanoseconds that each tool adds to a system call."""

from __future__ import annotations

import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tracers import Tracer

FLOOR = "empty program, entry"


@dataclass(frozen=True)
class Added:
    """What a tool adds to a call: medians over the rounds, in nanoseconds and relative to the floor."""

    name: str
    median_ns: float
    low_ns: float
    high_ns: float
    to_floor: float


def _storm(program: Path, calls: int) -> float:
    """Run the storm on the last CPU; nanoseconds per call."""
    command = ["taskset", "-c", "1", str(program), str(calls)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(program: Path, tracers: list[Tracer], *, rounds: int, calls: int) -> list[Added]:
    """Run A B C … A B C …: each round's figures stand beside that round's own baseline."""
    added: dict[str, list[float]] = {tracer.name: [] for tracer in tracers if not tracer.missing}
    for number in range(rounds):
        base = 0.0
        for tracer in tracers:
            if tracer.missing:
                continue
            with tracer.start():
                _storm(program, calls // 10)
                spent = min(_storm(program, calls) for _ in range(3))
            base = base or spent
            added[tracer.name].append(spent - base)
        print(f"  round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    floors = added[FLOOR]
    return [
        Added(
            name,
            statistics.median(values),
            min(values),
            max(values),
            statistics.median(value / base for value, base in zip(values, floors, strict=True)),
        )
        for name, values in list(added.items())[1:]
    ]


def report(results: list[Added], tracers: list[Tracer]) -> None:
    """Print the table."""
    print(f"{'added to a getppid':34} {'median':>8} {'low':>7} {'high':>7} {'× empty':>8}")
    for each in results:
        print(
            f"{each.name:34} {each.median_ns:5.0f} ns {each.low_ns:7.0f} {each.high_ns:7.0f} {each.to_floor:8.2f}"
        )
    for tracer in tracers:
        if tracer.missing:
            print(f"{tracer.name:34} not run: {tracer.missing}")
