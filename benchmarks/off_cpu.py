"""What a profile of waiting costs, beside offcputime: ``python -m benchmarks.off_cpu``.

Two processes on one CPU hand a byte to and fro through pipes, so that each switch is one of a thread that blocks:
nanoseconds of CPU time that a switch takes, without a profiler and with each, in rounds A B C … A B C …. Needs root.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.contenders.contender import nothing, running, sonde
from benchmarks.options import Options, run_report
from benchmarks.workloads.works import switch_ns

PEERS = {"offcputime": "libbpf-tools", "offcputime-bpfcc": "bpfcc-tools"}
"""Debian's two of that name, and their packages."""

Profiler = Callable[[], AbstractContextManager[object]]


def why_not(program: str, package: str) -> str:
    """Say why a peer cannot run here: it is not there, or what it says itself when it is started; else nothing."""
    if shutil.which(program) is None:
        return f"not installed (Debian package {package})"
    told = subprocess.run([program, "1"], capture_output=True, text=True, timeout=60)
    if told.returncode == 0:
        return ""
    return (told.stderr.strip().splitlines() or [f"exit status {told.returncode}"])[-1]


def _profilers() -> dict[str, Profiler | str]:
    """What is measured, or why it is not."""

    def peer(program: str) -> Profiler:
        return lambda: running(program, "600")

    return {
        "no profiler": nothing,
        "sonde profile offcpu": lambda: sonde("profile", "offcpu", "-o", "/dev/null", "--format", "folded"),
        **{program: why_not(program, package) or peer(program) for program, package in PEERS.items()},
    }


def measure(*, rounds: int, switches: int) -> dict[str, list[float] | str]:
    """Nanoseconds of a switch in each round, or why there are none."""
    profilers = _profilers()
    found: dict[str, list[float] | str] = {name: it for name, it in profilers.items() if isinstance(it, str)}
    for _ in range(rounds):
        for name, profiling in profilers.items():
            if not isinstance(profiling, str):
                with profiling():
                    spent = switch_ns([], switches)
                before = found.setdefault(name, [])
                assert isinstance(before, list)
                before.append(spent)
    return found


def report(options: Options) -> None:
    """Measure and print."""
    rounds, switches = options.rounds_wanted or options.of(9, 3), options.of(400_000, 100_000)
    found = measure(rounds=rounds, switches=switches)
    floor = found["no profiler"]
    assert isinstance(floor, list)
    print("CPU time of a switch between two blocking processes")
    for name, told in found.items():
        if isinstance(told, str):
            print(f"  {name:34} not measured: {told}")
            continue
        added = statistics.median(one - other for one, other in zip(told, floor, strict=True))
        print(f"  {name:34} {statistics.median(told):6.0f} ns  {added:+6.0f} ns")


if __name__ == "__main__":
    run_report(report, __doc__)
