"""Nanoseconds per packet of everything that looks at packets: ``python -m benchmarks.packets``.

Twice. By BPF_PROG_TEST_RUN, the program alone, on frames in the CPU's cache: there ratios to an empty program mean most.
And by a storm over a veth pair in two network namespaces of its own, from sendmmsg() to where the receiver's IP drops the
packet, all on one CPU: there a program is a small part of what a packet takes. (A veth with XDP copies each frame into
a page first, so that any XDP program, an empty one too, costs what none does not.) Rounds go A B C … C B A …, and ratios
are medians over rounds, each to its round's own empty program. Both are time on the CPU, so that what else runs there
is not in them. Needs root.
"""

from __future__ import annotations

import operator
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from benchmarks import built
from benchmarks.contenders import floors
from benchmarks.contenders.contender import WORK_CPU, CannotRunError, running
from benchmarks.contenders.xdp_filter import attached_xdp_filter, why_no_xdp_filter
from benchmarks.filter_lists import SIZES, filtering
from benchmarks.gathering import Gathering, in_turn
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Kind, Part
from sonde.bpf.hooks import Tc, Xdp
from sonde.bpf.program import Program

sys.path.insert(0, str(built.ROOT / "tests"))
from kernel.network import Pair, pair

FLOOR = "an empty XDP program"
FLOORS = ("no program", FLOOR)
BY_TC = {"packets, by protocol, at tc": "protocols", "packets, by flow, at tc": "flows"}
RECEIVED = "net:netif_receive_skb"
BESIDE = {
    "bpftrace count()": ("bpftrace", "-e", f"tracepoint:{RECEIVED} {{ @[str(args->name)] = count(); }}"),
    "perf stat": ("perf", "stat", "-a", "-e", RECEIVED),
}
PASS = 2  # XDP_PASS
REPEAT, TRIES = 50_000, 12


@dataclass(frozen=True)
class Row:
    """Something that is measured: ``loaded`` gives its program, ``attach`` has it at the pair's far end.

    What has no program here has ``missing``, why it is not measured at all, or is measured by the storm alone.
    """

    name: str
    loaded: Callable[[], AbstractContextManager[Program]] | None = None
    attach: Callable[[Pair], AbstractContextManager[object]] | None = None
    missing: str = ""


@contextmanager
def _empty() -> Iterator[Program]:
    with floors.loaded("floor_xdp") as made:
        yield made.programs["floor_xdp"]


@contextmanager
def _of_probe(table: str) -> Iterator[Program]:
    from sonde.probes.packets.measured import loaded

    with loaded(table) as (made, _):
        yield made.programs[f"{table}_xdp"]


@contextmanager
def _of_filter(networks: int) -> Iterator[Program]:
    with filtering(networks) as (program, _):
        yield program


@contextmanager
def _nothing(_: Pair) -> Iterator[None]:
    yield


@contextmanager
def _by_tc(ends: Pair, table: str) -> Iterator[None]:
    """Attach where a packet has its socket buffer, as bpftrace and perf see it: no page is copied for that."""
    from sonde.probes.packets.measured import loaded

    with ExitStack() as stack:
        made, _ = stack.enter_context(loaded(table))
        with ends.far.entered():
            stack.enter_context(made.programs[f"{table}_ingress"].attach(Tc(ends.far.interface)))
        yield


@contextmanager
def _tool(_: Pair, command: tuple[str, ...]) -> Iterator[None]:
    """Run a tool that looks at all packets of the machine."""
    with running(*command):
        yield


def _rows() -> list[Row]:
    """Everything, in the order in which it is printed."""
    with_program: dict[str, Callable[[], AbstractContextManager[Program]]] = {
        FLOOR: _empty,
        "packets, by protocol": lambda: _of_probe("protocols"),
        "packets, by flow": lambda: _of_probe("flows"),
        **{f"filter, {size:,} networks": lambda size=size: _of_filter(size) for size in SIZES},  # type: ignore[misc]
    }
    return [
        Row("no program", attach=_nothing),
        *(Row(title, attach=partial(_by_tc, table=table)) for title, table in BY_TC.items()),
        *(Row(title, attach=partial(_tool, command=command)) for title, command in BESIDE.items()),
        *(Row(name, loaded=loaded) for name, loaded in with_program.items()),
        Row("xdp-filter, 10 addresses", attach=attached_xdp_filter, missing=why_no_xdp_filter()),
    ]


def _frames() -> list[bytes]:
    """Frames that the filters let pass: all rows do the same with them."""
    with filtering(SIZES[0]) as (few, frames), filtering(SIZES[1]) as (many, more):
        passing = [
            frame
            for frame in (*frames, *more)
            if few.test_run(frame).return_value == many.test_run(frame).return_value == PASS
        ]
    return passing


# ---- the program alone ------------------------------------------------------------------------------------------


def _test_run_ns(program: Program, frames: list[bytes], repeat: int) -> float:
    """Mean over the frames, of each the fastest of several tries, short enough to fit between others.

    This thread's time on the CPU: the kernel's own figure is in whole nanoseconds, which is too coarse here.
    """
    fastest = []
    for frame in frames:
        spent = []
        for _ in range(TRIES):
            begun = time.thread_time_ns()
            program.test_run(frame, repeat=repeat)
            spent.append(time.thread_time_ns() - begun)
        fastest.append(min(spent))
    return sum(fastest) / len(frames) / repeat


def by_test_run(rows: list[Row], frames: list[bytes], *, rounds: int, repeat: int) -> dict[str, list[float]]:
    """Nanoseconds of each program in each round."""
    found: dict[str, list[float]] = {}
    before = os.sched_getaffinity(0)
    with ExitStack() as stack:
        programs = {row.name: stack.enter_context(row.loaded()) for row in rows if row.loaded is not None}
        os.sched_setaffinity(0, {WORK_CPU})
        stack.callback(os.sched_setaffinity, 0, before)
        for program in programs.values():
            _test_run_ns(program, frames, repeat)
        for number in range(rounds):
            for name, program in in_turn(list(programs.items()), number):
                found.setdefault(name, []).append(_test_run_ns(program, frames, repeat))
    return found


# ---- a storm ----------------------------------------------------------------------------------------------------


@contextmanager
def _attached(row: Row, ends: Pair) -> Iterator[None]:
    with ExitStack() as stack:
        if row.loaded is None:
            assert row.attach is not None
            stack.enter_context(row.attach(ends))
        else:
            program = stack.enter_context(row.loaded())
            with ends.far.entered():
                stack.enter_context(program.attach(Xdp(ends.far.interface, "native")))
        yield


def _storm_ns(storm: Path, ends: Pair, frames: list[bytes], packets: int) -> float:
    """Send the frames; raises RuntimeError where the other end did not get each of them."""
    before = ends.far.received()
    command = [
        "taskset",
        "-c",
        str(WORK_CPU),
        str(storm),
        ends.near.interface,
        str(len(frames[0])),
        str(packets),
    ]
    with ends.near.entered():
        told = subprocess.run(command, input=b"".join(frames), check=True, capture_output=True).stdout
    arrived = ends.far.received() - before
    if arrived != packets:
        raise RuntimeError(f"{arrived:,} of {packets:,} packets arrived: the figure would mean nothing")
    return float(told)


def by_storm(rows: list[Row], frames: list[bytes], *, rounds: int, packets: int) -> dict[str, list[float]]:
    """Nanoseconds of a packet in each round, with each program at the receiving end."""
    storm = built.storm("packet_storm")
    found: dict[str, list[float]] = {}
    for number in range(rounds):
        for row in in_turn(list(rows), number):
            if row.missing:
                continue
            try:
                with pair() as ends, _attached(row, ends):
                    _storm_ns(storm, ends, frames, packets // 10)
                    spent = min(_storm_ns(storm, ends, frames, packets) for _ in range(3))
            except CannotRunError as error:
                rows[rows.index(row)] = replace(row, missing=str(error))
                continue
            found.setdefault(row.name, []).append(spent)
    return found


# ---- what is found ----------------------------------------------------------------------------------------------

WHAT = """\
By `BPF_PROG_TEST_RUN` a program alone, on frames in the CPU's cache; and a storm over a veth pair in two network namespaces of its own, from `sendmmsg()` to where the
receiver's IP drops the packet, all on one CPU. A veth with XDP copies each frame into a page first: any XDP program, an empty one too, costs that. At tc, and for bpftrace and
perf, a packet has its socket buffer, and no page is copied. `xdp-filter` knows single addresses, `sonde filter` networks.
"""
COLUMNS = (
    Column("alone_ns", "test run", "ns"),
    Column("storm_ns", "storm on veth", "ns"),
    Column("storm_added", "of which added", "ns"),
)
PAIRS = {
    "xdp-filter, 10 addresses": "filter, 10 networks",
    **dict.fromkeys(BESIDE, "packets, by protocol, at tc"),
}


def _kind(row: Row) -> Kind:
    return "floor" if row.name in FLOORS else "peer" if row.name in PAIRS else "sonde"


def measure(options: Options) -> list[Part]:
    """Measure both ways."""
    rows, frames, begun, gathered = _rows(), _frames(), time.perf_counter(), Gathering()
    rounds = options.rounds(7)
    alone = by_test_run(rows, frames, rounds=rounds, repeat=options.of(REPEAT, REPEAT // 10))
    storms = by_storm(rows, frames, rounds=rounds, packets=options.of(200_000, 20_000))
    for row in rows:
        if row.missing:
            gathered.missing(row.name, _kind(row), row.missing)
    for number in gathered.rounds(rounds):
        for row in rows:
            for key, found in (("alone_ns", alone), ("storm_ns", storms)):
                if values := found.get(row.name, ())[number : number + 1]:
                    gathered.add(row.name, _kind(row), key, values[0])
    gathered.derive("storm_added", "storm_ns", FLOORS[0], operator.sub)
    names, spent = [row.name for row in rows], time.perf_counter() - begun
    return [
        Part(
            "packets",
            "A packet that passes an interface",
            WHAT,
            list(COLUMNS),
            gathered.rows(names, COLUMNS),
            pairs=PAIRS,
            plots=["alone_ns", "storm_ns"],
            seconds=spent,
        )
    ]


if __name__ == "__main__":
    run_part(measure, __doc__)
