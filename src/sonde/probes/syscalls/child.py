"""Processes that the tests measure: they wait, do what is known, and are read afterwards."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sonde.probe import Selection
from sonde.probes import probe
from sonde.records.model import RecordBatch
from sonde.run import Run

PATIENCE_S = 240
"""A call of sched_yield takes milliseconds where others want the CPUs, too."""
TABLES = ("latency", "counts")
SYSCALLS = probe("syscalls")


class Child:
    """A process that waits for a line on stdin before it does what it is for."""

    def __init__(self, code: str, *arguments: str, program: str = sys.executable) -> None:
        prelude = "import os, sys; sys.stdin.readline()\n"
        self.process = subprocess.Popen(
            [program, "-c", prelude + code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> str:
        """Wait for its end; what it printed."""
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        return out

    def end(self) -> None:
        """Kill it, if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def child(code: str, *arguments: str) -> Iterator[Child]:
    """Start Python code that waits for ``go``; it is killed at the end of the block if it still runs."""
    started = Child(code, *arguments)
    try:
        yield started
    finally:
        started.end()


def measured(
    code: str, *arguments: str, table: str = "latency", children: bool = False, **options: Any
) -> tuple[RecordBatch, Child]:
    """Run Python code in a child process and give the table's final batch of it."""
    with child(code, *arguments) as started:
        selection = Selection(pid=started.pid, children=children)
        with Run(SYSCALLS, table, selection=selection, **options) as run:
            started.go()
            started.finish()
            run.stop()
            return run.read(), started


def counts(batch: RecordBatch, pid: int | None = None) -> dict[tuple[str, str | None], int]:
    """Add up the rows by (system call, errno)."""
    found: dict[tuple[str, str | None], int] = {}
    for row in batch.rows(("pid", "syscall", "error", "count")):
        if pid is None or row["pid"] == pid:
            key = (row["syscall"], row["error"])
            found[key] = found.get(key, 0) + row["count"]
    return found


def assert_counted(
    expected: Mapping[tuple[str, str | None], int], batch: RecordBatch, pid: int | None = None
) -> None:
    """Each of these calls is in its row, or among those that the kernel itself says it did not show to the program.

    It skips calls of other tasks while a program is preempted on their CPU (Linux 7.x), and counts them machine-wide.
    Where it never does, every count is exact.
    """
    found = counts(batch, pid)
    missing = {key: count - found.get(key, 0) for key, count in expected.items()}
    assert min(missing.values()) >= 0, missing
    assert sum(missing.values()) <= batch.accounting.lost["recursion"], missing


WORKLOAD = (
    "from sonde.probes.syscalls.workload import Workload\nWorkload(int(sys.argv[1]), int(sys.argv[2])).run()"
)


def wait_until_blocked(pid: int) -> None:
    """Wait until a process sleeps."""
    for _ in range(4000):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S":
            return
        time.sleep(0.005)
    raise AssertionError(f"process {pid} does not sleep")
