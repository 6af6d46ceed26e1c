"""What counting system calls costs: loops, threads and real programs under every tool: ``python -m benchmarks.syscalls``.

Rounds go A B C … C B A …; in each a tool is started, all work is done under it, and it is ended by Ctrl-C. So a round has every
figure of a tool: what it adds, how long it took to start and to answer, its CPU time and its memory.
"""

from __future__ import annotations

import operator
import sys
import time

from benchmarks.contenders import syscall_tools, systemtap
from benchmarks.contenders.contender import Contender, add_session, started
from benchmarks.gathering import Gathering, in_turn
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part
from benchmarks.workloads.works import Work, programs, storms

WHAT = """\
Every tool that counts system calls, by process where it can, over the whole machine; strace starts its target, for it can look at one
only. `getppid` is a loop of nothing else; a mixed call is one of `getppid`, `read`, `write`, `openat`, `close`, `newfstatat`, `lseek`, and a failing `openat`.
Loops of one thread run on one CPU and the tools on another; with several threads all CPUs are shared.
"""

WHOLE = (
    Column("attached_s", "start to attached", "s"),
    Column("ended_s", "Ctrl-C to answer", "s"),
    Column("resident_mb", "resident", "MB"),
    Column("kernel_mb", "BPF maps and buffers", "MB"),
    Column("memory_mb", "memory in all", "MB"),
    Column("user_share", "its CPU, user", "% of a CPU"),
    Column("kernel_share", "its CPU, kernel", "% of a CPU"),
)


def measure(options: Options) -> list[Part]:
    """Run all rounds; the parts are loops, programs, and the tools themselves."""
    works = storms(options.of(200_000, 100_000)) + programs(quick=options.quick)
    tools = [each for each in syscall_tools.contenders() if options.wants(each.name)]
    begun = time.perf_counter()
    costs, whole = gathered(tools, works, options.rounds(5))
    spent = time.perf_counter() - begun
    names = [tool.name for tool in tools]
    if not options.quick and options.wants(systemtap.NAME):
        names.append(systemtap.NAME)
        costs.missing(systemtap.NAME, "peer", systemtap.for_debians_kernel())
    return _parts(works, names, costs, whole, spent)


def gathered(tools: list[Contender], works: list[Work], rounds: int) -> tuple[Gathering, Gathering]:
    """Do all work under every tool, round by round: what it took, took more and how many times as long; and what the tools took."""
    costs, whole = Gathering(), Gathering()
    for work in works:
        # Pages and caches are warm from here on.
        _ = work.missing or work.measure([], 1)
    for number in costs.rounds(rounds):
        whole.begin_round(number)
        for tool in in_turn(tools, number):
            _one(tool, works, costs, whole)
        print(f"  system calls, round {number + 1}", file=sys.stderr, flush=True)
    for work in works:
        costs.derive(f"{work.key}_added", work.key, syscall_tools.NONE, operator.sub)
        costs.derive(f"{work.key}_slowdown", work.key, syscall_tools.NONE, operator.truediv)
    return costs, whole


WHAT_PROGRAMS = """\
The same tools in the same rounds, under programs as people run them; 1.00 is the time that the work takes without a tool. nginx serves a
page of 612 bytes to wrk; both, and everything else on the machine, are traced by all tools but strace, which has nginx alone.
"""
WHAT_TOOLS = """\
The same tools in the same rounds, themselves: from their start to the last program attached, from Ctrl-C to their end with all rows
printed, memory at its peak (resident pages, and what the kernel holds for them in BPF maps and perf buffers), CPU time between.
"""


def _parts(
    works: list[Work], names: list[str], costs: Gathering, whole: Gathering, spent: float
) -> list[Part]:
    """Tell the same rounds in three parts; who could not run is named in the first."""
    pairs = syscall_tools.PAIRS
    added, slowdowns = _added(works), _slowdowns(works)
    return [
        Part(
            "syscalls",
            "Counting system calls: what a call takes more",
            WHAT,
            added,
            costs.rows(names, added, also=[work.key for work in works]),
            pairs=pairs,
            plots=[column.key for column in added],
            seconds=spent,
        ),
        Part(
            "programs",
            "Counting system calls: real programs",
            WHAT_PROGRAMS,
            slowdowns,
            [
                row
                for row in costs.rows(names, slowdowns, also=[work.key for work in works])
                if not row.missing
            ],
            pairs=pairs,
            plots=[column.key for column in slowdowns],
        ),
        Part(
            "tools",
            "The tools that count system calls: themselves",
            WHAT_TOOLS,
            list(WHOLE),
            [row for row in whole.rows(names, WHOLE) if not row.missing],
            pairs=pairs,
            plots=["attached_s", "memory_mb"],
        ),
    ]


def _added(works: list[Work]) -> list[Column]:
    return [Column(f"{work.key}_added", work.title, work.unit) for work in works if work.unit == "ns"]


def _slowdowns(works: list[Work]) -> list[Column]:
    return [Column(f"{work.key}_slowdown", work.title, "×") for work in works if work.unit != "ns"]


def _one(tool: Contender, works: list[Work], costs: Gathering, whole: Gathering) -> None:
    """Start one tool, do all work, end it."""
    with started(tool, costs) as session:
        if session is None:
            return whole.missing(tool.name, tool.kind, "see above")
        begun = time.perf_counter()
        for work in works:
            if work.missing:
                continue
            costs.add(tool.name, tool.kind, work.key, work.measure(session.prefix, tool.slow))
        session.watch()
        lasted = time.perf_counter() - begun
    add_session(tool, session, whole)
    if session.cpu is not None:
        whole.add(tool.name, tool.kind, "user_share", session.cpu.user_s / lasted * 100)
        whole.add(tool.name, tool.kind, "kernel_share", session.cpu.kernel_s / lasted * 100)
    return None


if __name__ == "__main__":
    run_part(measure, __doc__)
