"""Tools that show each event, or the sum of a kind: opens, processes, connections, disk, profiles: ``python -m benchmarks.events``.

For each kind the work makes a known number of events; what a tool shows of them is compared with that.
"""

from __future__ import annotations

import operator
import sys
import time

from benchmarks import event_kinds
from benchmarks.contenders.contender import add_session, started
from benchmarks.event_kinds import Kind, Tool
from benchmarks.gathering import Gathering, in_turn
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part

TAKEN = "event_us"
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
    for number in found.rounds(options.rounds(3)):
        for tool in in_turn(tools, number):
            _one(kind, tool, found)
        print(f"  {kind.name}, round {number + 1}", file=sys.stderr, flush=True)
    found.derive("slowdown", TAKEN, event_kinds.NONE.name, operator.truediv)
    found.derive("added_us", TAKEN, event_kinds.NONE.name, operator.sub)
    return Part(
        kind.name,
        kind.title,
        kind.what,
        list(COLUMNS),
        found.rows((tool.contender.name for tool in tools), COLUMNS, also=[TAKEN]),
        pairs=kind.pairs,
        plots=["slowdown", "memory_mb"],
        seconds=time.perf_counter() - begun,
    )


def _one(kind: Kind, tool: Tool, into: Gathering) -> None:
    """Measure one tool."""
    contender = tool.contender
    name, of = contender.name, contender.kind
    with started(contender, into) as session:
        if session is None:
            return
        spent_us, events = kind.work(session.prefix, contender.slow)
        session.watch()
        # Who reads at intervals has had one.
        time.sleep(0.3)
    into.add(name, of, TAKEN, spent_us)
    if tool.shown is not None:
        into.add(name, of, "delivered", tool.shown(session) / events * 100)
        into.said(name, of, event_kinds.said(tool, session))
    add_session(contender, session, into)
    if session.cpu is not None:
        into.add(name, of, "cpu_us", session.cpu.exact_s / events * 1e6)


if __name__ == "__main__":
    run_part(measure, __doc__)
