"""What each of the document's rules (section 1.4) is worth: ``python -m benchmarks.rules``.

Programs run by BPF_PROG_TEST_RUN, so that nothing but the program is timed. "2 CPUs" is one thread on each of two, both
counting the same key.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import built
from benchmarks.gathering import Gathering, in_turn
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Part
from sonde.bpf import Object, ObjectSpec

PROGRAMS = {
    "plain": "shared map, plain addition",
    "atomic": "shared map, atomic addition",
    "percpu": "per-CPU map",
    "twice": "per-CPU map, looked up twice",
    "sampled": "per-CPU map, 1 event in 100",
}
READING = (
    "writing an entry, by update_many",
    "writing an entry, one by one",
    "reading an entry, by to_numpy",
    "reading an entry, one by one",
)
LOADING = ("opening an object, from a file, checked", "opening an object, from bytes")
PACKET = bytes(64)
ROUNDS = 41
RUNS = 50_000
ENTRIES = 10_000


def alone_ns(made: Object, name: str) -> float:
    """Nanoseconds of one run."""
    return float(made.programs[name].test_run(PACKET, repeat=RUNS).duration_ns)


def together_ns(made: Object, name: str) -> float:
    """Nanoseconds of one run, while another CPU runs the same program."""
    cpus = sorted(os.sched_getaffinity(0))[:2]
    begin = threading.Barrier(len(cpus))
    spent: list[float] = []

    def run(cpu: int) -> None:
        os.sched_setaffinity(0, {cpu})
        begin.wait()
        spent.append(alone_ns(made, name))

    threads = [threading.Thread(target=run, args=(cpu,)) for cpu in cpus]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return max(spent)


def counting(path: Path, rounds: int, into: Gathering) -> None:
    """Add what counting costs over an empty program, and what it loses."""
    with ObjectSpec.open(path) as spec, spec.load() as made:
        for number in into.rounds(rounds):
            empty_alone, empty_together = alone_ns(made, "empty"), together_ns(made, "empty")
            for name, title in in_turn(list(PROGRAMS.items()), number):
                into.add(title, "sonde", "alone_ns", alone_ns(made, name) - empty_alone)
                table = _table(made, name)
                table.clear()
                into.add(title, "sonde", "together_ns", together_ns(made, name) - empty_together)
                if name != "sampled":
                    into.add(title, "sonde", "counted", _share(table, name) * 100)


def _table(made: Object, name: str) -> Any:
    return made.maps["shared" if name in ("plain", "atomic") else "per_cpu"]


def _share(table: Any, name: str) -> float:
    count = table.total(4711) if table.per_cpu else table[4711]
    return float(count) / (2 * RUNS * (2 if name == "twice" else 1))


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def reading(path: Path, rounds: int, into: Gathering) -> None:
    """Add what reading and writing a map costs, by batches and key by key."""
    import numpy as np

    with ObjectSpec.open(path) as spec, spec.load() as made:
        table: Any = made.maps["shared"]
        keys = np.arange(ENTRIES)
        works: dict[str, Callable[[], object]] = {
            READING[0]: lambda: table.update_many(keys, keys),
            READING[1]: lambda: table.update(zip(range(ENTRIES), range(ENTRIES), strict=True)),
            READING[2]: table.to_numpy,
            READING[3]: lambda: [table[key] for key in range(ENTRIES)],
        }
        for number in into.rounds(rounds):
            for title, work in in_turn(list(works.items()), number):
                into.add(title, "sonde", "alone_ns", _seconds(work) / ENTRIES * 1e9)


def loading(path: Path, rounds: int, into: Gathering) -> None:
    """Add what the checks before loading cost."""
    content = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "rules.bpf.o"
        copy.write_bytes(content)
        for _ in into.rounds(rounds):
            safely = _seconds(lambda: ObjectSpec.open(copy).close())
            into.add(LOADING[0], "sonde", "alone_ns", safely * 1e9)
            unchecked = _seconds(lambda: ObjectSpec.open(content, name="rules").close())
            into.add(LOADING[1], "sonde", "alone_ns", unchecked * 1e9)


WHAT = """\
Programs that count one key of a map, run by BPF_PROG_TEST_RUN, so that nothing but the program is timed, over an empty program; on two CPUs at once both count the same
key. *Counted* is the least of what was found in the map to what was counted. Below, a map of 10,000 entries and the opening of an object.
"""
COLUMNS = (
    Column("alone_ns", "1 CPU", "ns"),
    Column("together_ns", "2 CPUs", "ns"),
    Column("counted", "counted", "%", "more"),
)


def measure(options: Options) -> list[Part]:
    """Run every rule on and off."""
    found, begun, path = Gathering(), time.perf_counter(), built.bpf_object("rules")
    rounds = options.rounds(ROUNDS)
    counting(path, rounds, found)
    reading(path, rounds, found)
    loading(path, rounds, found)
    names = [*PROGRAMS.values(), *READING, *LOADING]
    rows = found.rows(names, COLUMNS)
    title = "The document's rules of speed, on and off"
    return [
        Part(
            "rules",
            title,
            WHAT,
            list(COLUMNS),
            rows,
            plots=["alone_ns", "together_ns"],
            seconds=time.perf_counter() - begun,
        )
    ]


if __name__ == "__main__":
    run_part(measure, __doc__)
