"""Records streamed out of the kernel at 1,000 to 2,000,000 a second, and what is lost on the way: ``python -m benchmarks.streams``.

One process makes calls at a rate; each is to become a record. What arrives is counted, and compared with what was made.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from benchmarks import built
from benchmarks.contenders import bcc_tools
from benchmarks.contenders.contender import (
    TOLD,
    WORK_CPU,
    Contender,
    Session,
    add_session,
    nothing,
    python_module,
    running,
    sonde,
    started,
    wrapping,
)
from benchmarks.crowds import said_lost
from benchmarks.gathering import Gathering, in_turn
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part

RATES = (1_000, 100_000, 500_000, 1_000_000, 2_000_000)
NUMPY = "sonde, into NumPy"
SMALL = "sonde, into NumPy, ring of 128 KiB"
EVENT = "syscalls:sys_enter_getppid"
SCRIPT = 'tracepoint:syscalls:sys_enter_getppid { printf("%llu %d\\n", nsecs, tid); }'
CAPTURE, PERF_DATA = TOLD / "stream.sonde", Path("/dev/shm/sonde-bench-perf.data")
WHAT = """\
A process makes `getppid` calls at a rate, on one CPU; each is to become a record of its time and thread, and come out of the kernel on the other CPU.
*Made* is the rate that was reached: above it the record in the kernel, or the tool, holds the process up. Rings are of 16 MB for sonde's library and BCC, the others'
as they come. *Delivered* is what came out of what was made. What did not, a tool may have told of: with that it should be 100 % again, and where a tool gives no
number, or none that is of records, there is none. A ring of 128 KiB has room for five thousand records, which is too few: what is lost there is to be counted exactly.
"""
COLUMNS = (
    Column("made_rate", "made", "records/s", "more"),
    Column("delivered", "delivered", "%", "more"),
    Column("accounted", "delivered, or said to be lost", "%", ""),
    Column("cpu_ns", "CPU of the tool for a record made", "ns"),
    Column("memory_mb", "memory in all", "MB"),
    Column("ended_s", "Ctrl-C to answer", "s"),
)
PAIRS = {
    "BCC, a callback for each": NUMPY,
    "bpftrace printf()": "sonde trace, JSON to a file",
    "perf record": "sonde record, to a file",
    "perf trace": "sonde trace, JSON to a file",
}


@contextmanager
def into_numpy(*arguments: str) -> Iterator[Session]:
    """Run what a program that uses the library looks like."""
    with python_module(
        "benchmarks.contenders.ring_reader", str(built.bpf_object("contenders/stream")), *arguments
    ) as session:
        yield session


def _last_json(session: Session, key: str) -> int:
    for line in reversed(session.told().splitlines()):
        if line.startswith("{") and key in line:
            told = json.loads(line)
            return int(told.get("accounting", told)[key])
    return 0


def _of_perf_record(_: Session) -> int:
    command = ["perf", "report", "-i", str(PERF_DATA), "--stats"]
    told = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    PERF_DATA.unlink(missing_ok=True)
    found = re.search(r"SAMPLE events:\s+(\d+)", told)
    return int(found[1]) if found else 0


def _of_bcc(session: Session) -> int:
    found = re.search(r"delivered (\d+)", session.told())
    return int(found[1]) if found else 0


CALLS = ("syscalls", "--syscall", "getppid", "--own")
CONTENDERS: list[tuple[Contender, Callable[[Session], int] | None]] = [
    (Contender("no tracer", "floor", nothing), None),
    (Contender(NUMPY, "sonde", into_numpy), lambda session: _last_json(session, "delivered")),
    (
        Contender(SMALL, "sonde", partial(into_numpy, "--ring-bytes", str(128 << 10))),
        lambda session: _last_json(session, "delivered"),
    ),
    (
        Contender(
            "sonde trace, JSON to a file", "sonde", partial(sonde, "trace", *CALLS, "--format", "json")
        ),
        lambda session: _last_json(session, "delivered"),
    ),
    (
        Contender(
            "sonde record, to a file",
            "sonde",
            partial(sonde, "record", "syscalls.calls", *CALLS[1:], "-o", str(CAPTURE)),
        ),
        lambda session: _of_capture(session),
    ),
    (
        Contender(
            "BCC, a callback for each",
            "peer",
            partial(bcc_tools.script, built.HERE / "contenders" / "bcc_stream.py"),
        ),
        _of_bcc,
    ),
    (
        Contender("bpftrace printf()", "peer", partial(running, "bpftrace", "-e", SCRIPT)),
        lambda session: session.lines(r"^\d+ \d+$"),
    ),
    (
        Contender(
            "perf record",
            "peer",
            partial(running, "perf", "record", "-a", "-e", EVENT, "-o", str(PERF_DATA)),
        ),
        _of_perf_record,
    ),
    (
        Contender("perf trace", "peer", partial(running, "perf", "trace", "-a", "-e", "getppid")),
        lambda session: session.lines(r"getppid\("),
    ),
    (
        Contender("strace", "peer", partial(wrapping, "strace", "-f", "-ttt", "-e", "trace=getppid")),
        lambda session: session.lines(r"getppid\("),
    ),
]


def _of_capture(session: Session) -> int:
    found = re.search(r"syscalls.calls: ([\d,]+) records", session.told())
    return int(found[1].replace(",", "")) if found else 0


def measure(options: Options) -> list[Part]:
    """Run every rate under every tool."""
    found, seconds = Gathering(), 0.5 if options.quick else 1.0
    chosen = [each for each in CONTENDERS if options.wants(each[0].name)]
    # At a million wanted a second it is never quite a million, which is what is to be reached.
    rates = (RATES[-1],) if options.quick else RATES
    begun = time.perf_counter()
    for number in found.rounds(options.rounds(3)):
        for rate in rates:
            for tool, count in in_turn(chosen, number):
                one(tool, count, rate, seconds, found)
        print(f"  streams, round {number + 1}", file=sys.stderr, flush=True)
    names = [tool.name for tool, _ in chosen]
    return [
        Part(
            "streams",
            "Records streamed out of the kernel",
            WHAT,
            list(COLUMNS),
            found.rows(names, COLUMNS),
            across="records wanted a second",
            pairs=PAIRS,
            plots=["made_rate", "delivered", "cpu_ns", "memory_mb"],
            seconds=time.perf_counter() - begun,
        )
    ]


def one(
    tool: Contender, count: Callable[[Session], int] | None, rate: int, seconds: float, into: Gathering
) -> None:
    """Run one rate under one tool."""
    with started(tool, into, at=rate) as session:
        if session is None:
            return
        pace = [str(built.storm("pace")), str(rate), str(seconds)]
        command = [*session.prefix, "taskset", "-c", str(WORK_CPU), *pace]
        made, made_rate = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        # Who reads at intervals has had one.
        time.sleep(0.3)
    into.add(tool.name, tool.kind, "made_rate", float(made_rate), at=rate)
    if count is not None:
        delivered, lost = count(session), told_lost(tool, session)
        into.add(tool.name, tool.kind, "delivered", delivered / int(made) * 100, at=rate)
        if lost is not None:
            into.add(tool.name, tool.kind, "accounted", (delivered + lost) / int(made) * 100, at=rate)
        into.said(tool.name, tool.kind, _said(tool, session), at=rate)
    add_session(tool, session, into, at=rate)
    if session.cpu is not None:
        into.add(tool.name, tool.kind, "cpu_ns", session.cpu.exact_s / int(made) * 1e9, at=rate)


LOST = (
    r'"lost": ?(\d+)',
    r"\blost ([\d,]+) \(",
    r"\blost (\d+),",
    r"\bLOST (\d+) events",
    r"\bLost (\d+) events",
)
"""How a number of records that are lost is told: by sonde's library, by its captures, BCC's script, perf trace, bpftrace."""


def told_lost(tool: Contender, session: Session) -> int | None:
    """Give the number of records of which a tool says that they are lost; None where it gives none of records."""
    if "JSON" in tool.name:
        return _lost_of_accounting(session)
    if tool.name == "perf record":
        return None
    text = session.told()
    return sum(int(found.replace(",", "")) for pattern in LOST for found in re.findall(pattern, text))


def _lost_of_accounting(session: Session) -> int:
    for line in reversed(session.told().splitlines()):
        if line.startswith('{"accounting"'):
            return sum(json.loads(line)["accounting"]["lost"].values())
    return 0


def _said(tool: Contender, session: Session) -> str:
    if tool.name in (NUMPY, SMALL):
        return f"lost {_last_json(session, 'lost'):,} of {_last_json(session, 'seen'):,}"
    return said_lost(tool, session) if "JSON" in tool.name else session.of_loss()


if __name__ == "__main__":
    run_part(measure, __doc__)
