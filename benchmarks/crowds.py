"""How the tools that count system calls grow with processes, and what they lose: ``python -m benchmarks.crowds``.

So many processes each make a prime number of calls and end. What each tool then answers, process by process, is compared with
what they made: what is missing was lost, and the tool has said so, or not.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from benchmarks import built
from benchmarks.contenders import syscall_tools
from benchmarks.contenders.contender import Contender, Session, add_session, started
from benchmarks.gathering import Gathering, in_turn
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part

CALLS = 101
SIZES = (10, 100, 1_000, 10_000)
SLOW_SIZE_MAX = 1_000
WHAT = """\
10 to 10,000 processes, at most 64 of them at a time, each make 101 calls of `getppid` and end. *Found* is how many of these calls the tool's
answer has under their processes; *said lost* is whether it says that it lacks any. A process is what it takes from its fork to its end.
strace gets 1,000 processes at most, for it takes too long.
"""
COLUMNS = (
    Column("process_us", "a process", "µs"),
    Column("found", "calls found under their process", "%", "more"),
    Column("memory_mb", "memory in all", "MB"),
    Column("kernel_mb", "BPF maps and buffers", "MB"),
    Column("ended_s", "Ctrl-C to answer", "s"),
)


def _of_sonde(told: str) -> Counter[int]:
    found: Counter[int] = Counter()
    for line in told.splitlines():
        row = json.loads(line) if line.startswith("{") else {}
        if row.get("pid") is not None:
            found[row["pid"]] += row["count"]
    return found


def _pairs(told: str, pattern: str, share: int = 1) -> Counter[int]:
    found: Counter[int] = Counter()
    for pid, count in re.findall(pattern, told, re.MULTILINE):
        found[int(pid)] += int(count) // share
    return found


ANSWERS: dict[str, Callable[[str], Counter[int]]] = {
    syscall_tools.COUNTS: _of_sonde,
    syscall_tools.LATENCY: _of_sonde,
    "syscount": lambda told: _pairs(told, r"^(\d+) +\S.*? +(\d+)(?: +\d+\.\d+)?$"),
    "BCC syscount": lambda told: _pairs(told, r"^(\d+) +\S.*? +(\d+)(?: +\d+\.\d+)?$"),
    "bpftrace count": lambda told: _pairs(told, r"^@\[(\d+)\]: (\d+)$"),
    # It counts entries and exits.
    "perf trace": lambda told: _pairs(told, r"\((\d+)\), (\d+) events", share=2),
}
"""By the beginning of a contender's name; who is not here does not tell processes apart."""


def measure(options: Options) -> list[Part]:
    """Run every size under every tool that tells processes apart."""
    found = Gathering()
    tools = [each for each in syscall_tools.contenders() if options.wants(each.name) and _compared(each)]
    sizes = (1_000,) if options.quick else SIZES
    begun = time.perf_counter()
    for number in found.rounds(options.rounds(3)):
        for size in sizes:
            for tool in in_turn(tools, number):
                if tool.slow < 100 or size <= SLOW_SIZE_MAX:
                    one(tool, size, found)
        print(f"  processes, round {number + 1}", file=sys.stderr, flush=True)
    names = [tool.name for tool in tools]
    return [
        Part(
            "crowds",
            "Counting system calls: 10 to 10,000 processes",
            WHAT,
            list(COLUMNS),
            found.rows(names, COLUMNS),
            across="processes",
            pairs=syscall_tools.PAIRS,
            plots=["process_us", "found", "memory_mb", "ended_s"],
            seconds=time.perf_counter() - begun,
        )
    ]


def _compared(tool: Contender) -> bool:
    return tool.kind == "floor" or tool.name == "strace -c" or _answer(tool) is not None


def _answer(tool: Contender) -> Callable[[str], Counter[int]] | None:
    return next(
        (read for name, read in ANSWERS.items() if tool.name == name or tool.name.startswith(name)), None
    )


def one(tool: Contender, size: int, into: Gathering) -> None:
    """Run one size under one tool."""
    with started(tool, into, at=size) as session:
        if session is None:
            return
        command = [*session.prefix, str(built.storm("crowd")), str(size), str(CALLS)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    into.add(tool.name, tool.kind, "process_us", float(told[0]) / 1e3, at=size)
    _add_answer(tool, session, set(map(int, told[1:])), into)


def _add_answer(tool: Contender, session: Session, pids: set[int], into: Gathering) -> None:
    read, size = _answer(tool), len(pids)
    if read is not None:
        counts = read(session.told())
        share = sum(min(counts[pid], CALLS) for pid in pids) / (CALLS * size) * 100
        into.add(tool.name, tool.kind, "found", share, at=size)
        into.said(tool.name, tool.kind, said_lost(tool, session), at=size)
    add_session(tool, session, into, at=size)


def said_lost(tool: Contender, session: Session) -> str:
    """Give what a tool says that it lost, or folded."""
    if tool.kind != "sonde":
        return session.of_loss()
    accounting: dict[str, Any] = {}
    folded = 0
    for line in session.told().splitlines():
        row = json.loads(line) if line.startswith("{") else {}
        accounting = row.get("accounting", accounting)
        folded += row.get("count") or 0 if "pid" in row and row["pid"] is None else 0
    lost = sum((accounting.get("lost") or {}).values())
    return f"lost {lost:,}" + (f", {folded:,} in other" if folded else "")


if __name__ == "__main__":
    run_part(measure, __doc__)
