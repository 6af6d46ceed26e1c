"""Processes that the tests measure: they wait, do what is known, and are read afterwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sonde.probe import Selection
from sonde.probes import probe
from sonde.records.accounting import Accounting
from sonde.records.model import RecordBatch
from sonde.run import Run

PROCESSES = probe("processes")
WORKLOAD = (
    "from sonde.probes.processes.workload import Workload; Workload(int(sys.argv[1]), int(sys.argv[2])).run()"
)


@contextmanager
def child(code: str, *arguments: str, program: str = sys.executable) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for a line before it does what it is for, which ``done`` lets it do."""
    prelude = "import os, sys; sys.stdin.readline()\n"
    command = [program, "-c", prelude + code, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def done(started: subprocess.Popen[str]) -> str:
    """Let it begin, and wait for its end; what it printed."""
    out, _ = started.communicate("\n", timeout=240)
    return out


def rest_of(run: Run) -> list[RecordBatch]:
    """Read a stopped stream to its end."""
    batches = [run.read()]
    while len(batches[-1]):
        batches.append(run.read())
    return batches


def records(
    code: str, *arguments: str, selection: Mapping[str, Any] | None = None, **options: Any
) -> tuple[list[dict[str, Any]], RecordBatch, int]:
    """Run Python code in a child and give the stream's records of it and its children, the last batch, its pid."""
    with child(code, *arguments) as started:
        chosen = Selection(**(selection or {"pid": started.pid, "children": True}))
        with Run(PROCESSES, "lifecycle", selection=chosen, **options) as run:
            done(started)
            run.stop()
            batches = rest_of(run)
    return [row for batch in batches for row in batch.rows()], batches[-1], started.pid


def counted(batch: RecordBatch, column: str) -> int:
    """Add up a column of all rows."""
    return int(sum(row[column] for row in batch.rows()))


def assert_told(expected: Mapping[Any, int], found: Mapping[Any, int], accounting: Accounting) -> None:
    """Each event is there, or among those for which the kernel says that it did not run the program (Linux 7.x).

    It does not while the program is preempted on that CPU. Where it never is every count is exact.
    """
    missing = {key: count - found[key] for key, count in expected.items()}
    assert min(missing.values()) >= 0, missing
    assert sum(missing.values()) <= accounting.lost["recursion"], missing
    assert accounting.lost["recursion"] == accounting.lost_total
    assert accounting.balanced, str(accounting)
