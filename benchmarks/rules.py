"""What each of the document's rules (section 1.4) is worth: ``python -m benchmarks.rules``.

Programs run by BPF_PROG_TEST_RUN, so that nothing but the program is timed. Of several rounds the best is printed, for
other work on the machine only ever adds. "2 CPUs" is one thread on each of two, both counting the same key: here the
median, for the best round is one in which they hardly met, and the lowest share of what they counted.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sonde.bpf import Object, ObjectSpec

HERE = Path(__file__).parent
ROOT = HERE.parent
PROGRAMS = ("plain", "atomic", "percpu", "twice", "sampled")
PACKET = bytes(64)
ROUNDS = 41
RUNS = 50_000
ENTRIES = 10_000


def rules_object() -> Path:
    """Compile rules.bpf.c as the product's objects are compiled."""
    sys.path.insert(0, str(ROOT / "tools"))
    from sonde_build import extension
    from sonde_build.objects import build_all

    (path,) = build_all(
        extension.object_builder(), [HERE / "rules.bpf.c"], into=ROOT / "build" / "benchmarks"
    )
    return path


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


def counting(path: Path) -> None:
    """Print what counting costs, and what it loses."""
    names = ("empty", *PROGRAMS)
    alone: dict[str, list[float]] = {name: [] for name in names}
    together: dict[str, list[float]] = {name: [] for name in names}
    counted: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    with ObjectSpec.open(path) as spec, spec.load() as made:
        for _ in range(ROUNDS):
            for name in names:
                alone[name].append(alone_ns(made, name))
                table = _table(made, name)
                table.clear()
                together[name].append(together_ns(made, name))
                if name in counted:
                    counted[name].append(_share(table, name))
    print(f"{'per run, over an empty program':40} {'1 CPU':>9} {'2 CPUs':>9}  counted of what 2 CPUs did")
    for name in PROGRAMS:
        one = min(alone[name]) - min(alone["empty"])
        two = statistics.median(together[name]) - statistics.median(together["empty"])
        share = "an estimate" if name == "sampled" else f"{min(counted[name]):.2%}"
        print(f"{name:40} {one:6.0f} ns {two:6.0f} ns  {share}")


def _table(made: Object, name: str) -> Any:
    return made.maps["shared" if name in ("empty", "plain", "atomic") else "per_cpu"]


def _share(table: Any, name: str) -> float:
    count = table.total(4711) if table.per_cpu else table[4711]
    return float(count) / (2 * RUNS * (2 if name == "twice" else 1))


def best_of(work: Callable[[], object]) -> float:
    """Seconds of the best of several rounds."""
    times = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        work()
        times.append(time.perf_counter() - begun)
    return min(times)


def reading(path: Path) -> None:
    """Print what reading a map costs, by batches and key by key."""
    import numpy as np

    with ObjectSpec.open(path) as spec, spec.load() as made:
        table: Any = made.maps["shared"]
        keys = np.arange(ENTRIES)
        by_batch = best_of(lambda: table.update_many(keys, keys))
        by_key = best_of(lambda: table.update(zip(range(ENTRIES), range(ENTRIES), strict=True)))
        print(
            f"{'write an entry: update_many, one by one':40} {by_batch / ENTRIES * 1e9:6.0f} ns {by_key / ENTRIES * 1e9:6.0f} ns"
        )
        by_batch = best_of(table.to_numpy)
        by_key = best_of(lambda: [table[key] for key in range(ENTRIES)])
        print(
            f"{'read an entry: to_numpy, one by one':40} {by_batch / ENTRIES * 1e9:6.0f} ns {by_key / ENTRIES * 1e9:6.0f} ns"
        )


def loading(path: Path) -> None:
    """Print what the checks before loading cost."""
    content = path.read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "rules.bpf.o"
        copy.write_bytes(content)
        safely = best_of(lambda: ObjectSpec.open(copy).close())
    unchecked = best_of(lambda: ObjectSpec.open(content, name="rules").close())
    print(f"{'open an object: from a file, from bytes':40} {safely * 1e6:6.0f} µs {unchecked * 1e6:6.0f} µs")


def main() -> None:
    """Print all."""
    path = rules_object()
    counting(path)
    reading(path)
    loading(path)


if __name__ == "__main__":
    main()
