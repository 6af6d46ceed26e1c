"""Tools that show each event, or the sum of a kind: opens, processes, connections, disk, profiles: ``python -m benchmarks.events``.

For each kind the work makes a known number of events; what a tool shows of them is compared with that.
"""

from __future__ import annotations

import sys
import time

from benchmarks import event_kinds
from benchmarks.contender import add_session, started
from benchmarks.event_kinds import Kind, Tool
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Gathering, Part

COLUMNS = (
    Column("slowdown", "the work", "×"),
    Column("added_us", "an event takes more", "µs"),
    Column("delivered", "shown", "%", "more"),
    Column("cpu_us", "CPU of the tool for an event", "µs"),
    Column("attached_s", "start to attached", "s"),
    Column("ended_s", "Ctrl-C to answer", "s"),
    Column("memory_mb", "memory in all", "MB"),
)


def measure(options: Options) -> list[Part]:
    """Run every kind under each of its tools."""
    return [_measure(kind, options) for kind in event_kinds.kinds(quick=options.quick)]


def _measure(kind: Kind, options: Options) -> Part:
    found, begun = Gathering(), time.perf_counter()
    tools = [tool for tool in kind.tools if options.wants(tool.contender.name)]
    kind.work([], 1)
    for number in range(options.rounds(3)):
        base = 0.0
        for tool in tools:
            base = _one(kind, tool, base, found) or base
        print(f"  {kind.name}, round {number + 1}", file=sys.stderr, flush=True)
    return Part(
        kind.name,
        kind.title,
        kind.what,
        list(COLUMNS),
        found.rows((tool.contender.name for tool in tools), COLUMNS),
        pairs=kind.pairs,
        plots=["slowdown", "memory_mb"],
        seconds=time.perf_counter() - begun,
    )


def _one(kind: Kind, tool: Tool, base: float, into: Gathering) -> float:
    """Measure one tool; gives what an event takes without any, where this was that."""
    contender = tool.contender
    name, of = contender.name, contender.kind
    with started(contender, into) as session:
        if session is None:
            return 0
        spent_us, events = kind.work(session.prefix, contender.slow)
        session.watch()
        # Who reads at intervals has had one.
        time.sleep(0.3)
    base = base or spent_us
    into.add(name, of, "slowdown", spent_us / base)
    into.add(name, of, "added_us", spent_us - base)
    if tool.shown is not None:
        into.add(name, of, "delivered", tool.shown(session) / events * 100)
        into.said(name, of, event_kinds.said(tool, session))
    add_session(contender, session, into)
    if session.cpu is not None:
        into.add(name, of, "cpu_us", session.cpu.exact_s / events * 1e6)
    return base if base == spent_us else 0


if __name__ == "__main__":
    run_part(measure, __doc__)
