"""Nanoseconds that the probe ``processes`` adds to a fork, an exec and an exit: ``python -m benchmarks.per_process``.

By the kernel's own statistics of programs, beside empty programs on the same hooks in the same moment: the clock that
it reads twice is in both. Medians of several rounds; the share is of what a whole process takes, wall clock.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack

from benchmarks.contenders import floors
from sonde.bpf import Object, RunStatistics
from sonde.probes import probe
from sonde.run import Run

ROUNDS = 9
PROCESSES = 503
KINDS = {"fork": "floor_fork", "exec": "floor_exec", "exit": "floor_process_exit"}
WORKLOAD = [
    sys.executable,
    "-m",
    "sonde.probes.processes.workload",
    "--forks",
    "0",
    "--programs",
    str(PROCESSES),
]


def _spent(loaded: Object) -> dict[str, tuple[int, int]]:
    return {name: (program.run_time_ns, program.run_count) for name, program in loaded.programs.items()}


def _per_run(before: Mapping[str, tuple[int, int]], after: Mapping[str, tuple[int, int]]) -> dict[str, float]:
    return {
        name: (after[name][0] - before[name][0]) / runs
        for name in after
        if (runs := after[name][1] - before[name][1])
    }


def one_round(output: str) -> tuple[dict[str, float], float]:
    """Run the workload once: nanoseconds of each program, and of a process from fork to wait."""
    with ExitStack() as stack:
        run = stack.enter_context(Run(probe("processes"), output))
        empty = stack.enter_context(floors.attached(*KINDS.values()))
        stack.enter_context(RunStatistics())
        before = _spent(run.loaded) | _spent(empty)
        begun = time.perf_counter()
        subprocess.run(WORKLOAD, check=True, stdout=subprocess.DEVNULL)
        process_ns = (time.perf_counter() - begun) / PROCESSES * 1e9
        return _per_run(before, _spent(run.loaded) | _spent(empty)), process_ns


def main() -> None:
    """Print what each output adds to each event."""
    print(f"{'added to':24} {'fork':>9} {'exec':>9} {'exit':>9}   of a process")
    for output in ("events", "lifetimes", "lifecycle"):
        rounds = [one_round(output) for _ in range(ROUNDS)]
        cells, added = [], 0.0
        for kind, floor in KINDS.items():
            name = f"{output}_{kind}"
            extra = [told[name] - told[floor] for told, _ in rounds if name in told]
            median = statistics.median(extra) if extra else 0.0
            added += median
            cells.append(f"{median:6.0f} ns" if extra else f"{'-':>9}")
        process_ns = statistics.median(each for _, each in rounds)
        print(f"{output:24} {' '.join(cells)}   {added / process_ns:.2%} of {process_ns / 1000:.0f} µs")
    empty = {kind: statistics.median(told[floor] for told, _ in rounds) for kind, floor in KINDS.items()}
    print(f"{'(empty programs':24} {' '.join(f'{ns:6.0f} ns' for ns in empty.values())})")


if __name__ == "__main__":
    main()
