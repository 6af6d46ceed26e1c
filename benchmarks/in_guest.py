"""Counting system calls inside a virtual machine, whose kernel has its headers: ``virtual`` runs this there.

``python -m benchmarks.in_guest OUTPUT MODULE ROUNDS PATH=PLACE…``: MODULE is SystemTap's, compiled outside; the pairs are links to be made.
"""

from __future__ import annotations

import operator
import os
import signal
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec

from benchmarks import syscalls
from benchmarks.contenders import resources, syscall_tools
from benchmarks.contenders.contender import Contender, running
from benchmarks.virtual import ATTACHED, COLUMNS, SYSTEMTAP
from benchmarks.workloads.works import storms

CALLS = 20_000
WORKS = ("tight_1", "mixed")
SLOW_MAX = 20
LEFT_WITHIN_S = 3.0


def main() -> None:
    """Run from the command line."""
    output, module, rounds, *links = sys.argv[1:]
    for link in links:
        path, _, place = link.partition("=")
        Path(path).symlink_to(place)
    tools = contenders(Path(module))
    works = [work for work in storms(CALLS) if work.key in WORKS]
    costs, _ = syscalls.gathered(tools, works, int(rounds))
    for key in WORKS:
        costs.derive(f"{key}_floors", f"{key}_added", syscall_tools.FLOOR, operator.truediv)
    if not costs.is_missing(SYSTEMTAP):
        costs.said(SYSTEMTAP, "peer", left_behind(tools[-1], Path(module).stem))
    rows = costs.rows([tool.name for tool in tools], COLUMNS, also=WORKS)
    Path(output).write_bytes(msgspec.json.encode(rows))


def contenders(module: Path) -> list[Contender]:
    """Those of the comparison, with as little work as an emulated processor can do, and SystemTap with its module."""
    found = [
        replace(each, slow=min(each.slow, SLOW_MAX))
        for each in syscall_tools.contenders()
        if each.name != "SystemTap"
    ]
    run = partial(running, "staprun", str(module), says=ATTACHED)
    return [*found, Contender(SYSTEMTAP, "peer", run)]


def left_behind(tool: Contender, module: str) -> str:
    """Kill SystemTap while it runs, and tell whether its module stays in the kernel."""
    with tool.start() as session:
        for pid in resources.tree(session.pid):
            os.kill(pid, signal.SIGKILL)
        deadline = time.monotonic() + LEFT_WITHIN_S
        while (stays := is_loaded(module)) and time.monotonic() < deadline:
            time.sleep(0.1)
    return f"its module was {'still' if stays else 'no longer'} in the kernel after kill -9"


def is_loaded(module: str) -> bool:
    """Tell whether the kernel has a module."""
    return any(line.split()[0] == module for line in Path("/proc/modules").read_text().splitlines())


if __name__ == "__main__":
    main()
