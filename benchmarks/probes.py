"""What each probe adds to what it looks at: ``python -m benchmarks.probes``; the READMEs of the probes state these figures.

By the kernel's own statistics of programs, beside empty programs on the same hooks in the same moment: the clock that it
reads twice is in both. Memory is what an output's maps take when full.
"""

from __future__ import annotations

import sys
import time

from benchmarks import per_connection, per_drop, per_process, per_switch
from benchmarks.gathering import Gathering
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part
from sonde.probes import all_probes, probe
from sonde.run import Run

WHAT = """\
Nanoseconds of sonde's programs for one event, and of empty programs on the same hooks in the same moment, by the kernel's own statistics; the clock that it reads twice is
in both. A connection is both its sides, through loopback. Memory is that of an output's maps when they are full, here and on a machine of 128 CPUs.
"""
COLUMNS = (
    Column("ours_ns", "sonde", "ns"),
    Column("empty_ns", "empty programs", "ns"),
    Column("added_ns", "more than those", "ns"),
    Column("maps_mb", "maps", "MB"),
    Column("maps_128_mb", "maps with 128 CPUs", "MB"),
)


def measure(options: Options) -> list[Part]:
    """Measure every probe that has a benchmark of its own, and the memory of all."""
    found, begun = Gathering(), time.perf_counter()
    names: list[str] = []

    def add(name: str, ours: float, empty: float) -> None:
        names.append(name)
        for key, value in {"ours_ns": ours, "empty_ns": empty, "added_ns": ours - empty}.items():
            found.add(name, "sonde", key, value)

    for number in found.rounds(options.rounds(5)):
        for output in ("events", "lifetimes", "lifecycle"):
            told, _ = per_process.one_round(output)
            for kind, floor in per_process.KINDS.items():
                if f"{output}_{kind}" in told:
                    add(f"processes.{output}, {kind}", told[f"{output}_{kind}"], told[floor])
        for measured in per_switch.MEASURED:
            told, _ = per_switch.one_round(measured)
            for program, kind in measured.programs.items():
                add(f"{measured.title}, {kind}", told[program], told[kind])
        for output in ("counts", "packets"):
            ours, empty, _ = per_drop.one_round(output)
            add(f"drops.{output}, packet", ours, empty)
        for each in probe("tcp").outputs:
            ours, empty, _ = per_connection.per_connection(each.name)
            add(f"tcp.{each.name}, connection", ours, empty)
        print(f"  probes, round {number + 1}", file=sys.stderr, flush=True)
    names += _memory(found)
    rows = found.rows(names, COLUMNS)
    title = "What each probe adds"
    return [Part("probes", title, WHAT, list(COLUMNS), rows, seconds=time.perf_counter() - begun)]


def _memory(found: Gathering) -> list[str]:
    names = []
    for name, declared in all_probes().items():
        for output in declared.outputs:
            with Run(declared, output.name) as run:
                told = run.describe()
            names.append(f"{name}.{output.name}")
            found.add(names[-1], "sonde", "maps_mb", told["map_memory_bytes"] / 1e6)
            found.add(names[-1], "sonde", "maps_128_mb", told["map_memory_bytes_128_cpus"] / 1e6)
    return names


if __name__ == "__main__":
    run_part(measure, __doc__)
