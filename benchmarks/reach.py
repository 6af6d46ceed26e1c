"""What tools can look at here, and in which forms they answer: ``python -m benchmarks.reach``.

Places are what a tool lists on this machine; ready-made are the programs, scripts or probes that come with it.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

from benchmarks.gathering import Gathering
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Kind, Part
from sonde.bpf import hooks
from sonde.probes import all_probes

WHAT = """\
*Kinds of hooks* of sonde are those that its library attaches to, *places* what a tool lists on this machine when it is asked, *ready-made* what comes with it: tools, scripts,
and outputs of probes. What they export is what their manuals say.
"""
COLUMNS = (Column("places", "places it lists here", "", "more"), Column("ready", "ready-made", "", "more"))
EXPORTS = {
    "sonde": "filters by process, children, name, cgroup, call, error, latency, in the kernel; NumPy, JSON, CSV, Arrow, OTLP, Prometheus",
    "libbpf-tools": "filters by process and name, tool by tool; text",
    "bpftrace": "filters and sums by expressions, in the kernel; text, JSON",
    "BCC": "filters as its tools have them, or any in C; text, Python objects one by one",
    "perf": "filters by fields of tracepoints, in the kernel; text, its own file, JSON and CSV of counters",
    "strace": "filters by call, path and status, in user space unless --seccomp-bpf; text",
    "SystemTap": "filters and sums by a language of its own; text",
}


def _lines(*command: str) -> int:
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    return sum(1 for line in told.splitlines() if line.strip())


def _shipped(package: str, ending: str) -> int:
    try:
        told = subprocess.run(["dpkg", "-L", package], capture_output=True, text=True, check=False).stdout
    except OSError:
        return 0
    paths = map(Path, told.split())
    return sum(1 for path in paths if path.match(ending) and path.is_file() and not path.is_symlink())


def _kinds_of_hooks() -> int:
    return len(hooks.hook_kinds())


def _outputs() -> int:
    return sum(len(declared.outputs) for declared in all_probes().values())


TOOLS: dict[str, tuple[Callable[[], int], Callable[[], int]]] = {
    "sonde": (_kinds_of_hooks, _outputs),
    "libbpf-tools": (
        lambda: 0,
        lambda: _shipped("libbpf-tools", "*/sbin/*") + _shipped("libbpf-tools", "*/bin/*"),
    ),
    "bpftrace": (lambda: _lines("bpftrace", "-l"), lambda: _shipped("bpftrace", "*.bt")),
    "BCC": (lambda: 0, lambda: _shipped("bpfcc-tools", "*/sbin/*")),
    "perf": (lambda: _lines("perf", "list", "--no-desc"), lambda: 0),
    "strace": (
        lambda: _lines("sh", "-c", "ls /sys/kernel/tracing/events/syscalls | grep sys_enter_"),
        lambda: 0,
    ),
    "SystemTap": (
        lambda: _lines("stap", "-L", 'kernel.trace("*")'),
        lambda: _shipped("systemtap-common", "*.stp"),
    ),
}


def measure(_: Options) -> list[Part]:
    """Ask each tool."""
    found = Gathering()
    for name, (places, ready) in TOOLS.items():
        kind: Kind = "sonde" if name == "sonde" else "peer"
        for key, count in (("places", places()), ("ready", ready())):
            if count:
                found.add(name, kind, key, count)
        found.said(name, kind, EXPORTS[name])
    rows = found.rows(TOOLS, COLUMNS)
    return [
        Part(
            "reach",
            "What tools can look at, and how they answer",
            WHAT,
            list(COLUMNS),
            rows,
            said="filters; answers",
        )
    ]


if __name__ == "__main__":
    run_part(measure, __doc__)
