"""Runs of the probe ``offcpu`` whose account holds, and what threads measure of themselves beside them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernel.places import ask
from kernel.workers import Worker, workers
from sonde.probe import Selection
from sonde.probes import probe
from sonde.probes.offcpu.workload import Timed
from sonde.records.accounting import Accounting
from sonde.run import Run

OFFCPU = probe("offcpu")
SETUP = "from sonde.probes.offcpu.workload import run"
ROUNDS = 10
"""Some kernels keep a few switches from programs (README.md of runqueue): of such a round it is known, and another is made."""
Row = dict[str, Any]


class Measured:
    """A run of the probe, with one of its variants alone if it is named, and the account of what was read at its end."""

    def __init__(self, *, variant: str = "", **options: Any) -> None:
        variants = tuple(each for each in OFFCPU.variants if variant in ("", each.name))
        self.run = Run(replace(OFFCPU, variants=variants), **options)
        self.accounting = Accounting()

    def __enter__(self) -> Measured:
        self.run.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.run.close()

    def rows(self) -> list[Row]:
        """Stop, read, and check that the account holds."""
        self.run.stop()
        batch = self.run.read()
        self.accounting = batch.accounting
        assert batch.accounting.balanced, str(batch.accounting)
        assert batch.accounting.final
        # Distributions' kernels show all switches.
        assert not batch.accounting.lost["untraced"] or "SONDE_VM_KERNEL" not in os.environ
        return list(batch.rows())

    @property
    def is_whole(self) -> bool:
        """Tell whether the kernel has shown all switches of the selected threads."""
        return not self.accounting.lost_total


def total(rows: list[Row], name: str = "total_ns", **wanted: Any) -> int:
    """Add up a column of the rows that have these values."""
    return sum(row[name] or 0 for row in rows if all(row[key] == value for key, value in wanted.items()))


def told_by(worker: Worker, kind: str) -> Timed:
    """Have a worker be blocked in one way, and say what it measured."""
    arguments = [kind]
    if kind == "disk" and "SONDE_VM_KERNEL" in os.environ:
        # Its files are in memory, but for those of the host, which come by 9p: a large one.
        libraries = Path(np.__file__).parents[1].glob("numpy.libs/*")
        arguments.append(str(max(libraries, key=lambda path: path.stat().st_size)))
    code = f"timed = run(*{arguments!r}); print(timed.blocks, timed.off_cpu_ns, flush=True)"
    blocks, off_cpu_ns = ask(worker, code).split()
    assert worker.stdout is not None
    assert worker.stdout.readline() == "done\n"
    return Timed(int(blocks), int(off_cpu_ns))


def compared(kind: str, **options: Any) -> tuple[list[Row], Timed]:
    """Measure a thread that is blocked in one way; in rounds, until the kernel has shown all of it."""
    for _ in range(ROUNDS):
        with (
            workers(setup=SETUP) as (worker,),
            Measured(selection=Selection(pid=worker.pid), **options) as measured,
        ):
            told = told_by(worker, kind)
            rows = [row for row in measured.rows() if row["comm"] == kind]
        if measured.is_whole:
            return rows, told
    pytest.fail(f"in {ROUNDS} rounds the kernel has kept switches from us: {measured.accounting}")
