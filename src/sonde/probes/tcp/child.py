"""Processes that the tests measure: they do a step for each line that they read."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kernel.network import settle
from sonde.probe import Probe, Selection
from sonde.probes import probe
from sonde.records.model import RecordBatch
from sonde.run import Run

TCP = probe("tcp")
PRELUDE = """
import os, socket, struct, sys, threading, time
from sonde.probes.tcp.workload import ABORT, Workload
def step(word="ready"):
    print(word, flush=True)
    sys.stdin.readline()
"""
Row = dict[str, Any]


class Child:
    """A process in which ``step(word)`` prints a word and waits for ``go``; it has stopped at its first step."""

    def __init__(self, code: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{PRELUDE}\nstep()\n{code}", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid
        self.word()

    def word(self) -> str:
        """Wait for the next step, and give its word; empty at the end."""
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def go(self) -> str:
        """Let it do its next step, and wait until that is done."""
        self.tell()
        return self.word()

    def tell(self) -> None:
        """Let it do its next step."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        """Let it do all that is left; what its connections had still to tell each other at its end has been said then."""
        self.process.communicate("\n" * 100, timeout=240)
        assert self.process.returncode == 0
        settle()

    def end(self) -> None:
        """Kill it, if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)


@contextmanager
def child(code: str, *arguments: str) -> Iterator[Child]:
    """Start Python code that waits for ``go``; it is killed at the end of the block if it still runs."""
    started = Child(code, *arguments)
    try:
        yield started
    finally:
        started.end()


def records(run: Run, *, until: Callable[[list[Row]], bool] = lambda rows: True) -> list[Row]:
    """Read the stream until something is there."""
    rows: list[Row] = []
    deadline = time.monotonic() + 60
    while True:
        batch = run.read()
        rows += batch.rows()
        if not len(batch) and until(rows):
            return rows
        if not len(batch):
            assert time.monotonic() < deadline, rows
            time.sleep(0.02)


@contextmanager
def measured(
    output: str,
    code: str,
    *arguments: str,
    selection: Mapping[str, Any] | None = None,
    children: bool = False,
    probe: Probe = TCP,
    **options: Any,
) -> Iterator[tuple[Child, Run]]:
    """Start code in a child, and an output that counts the child's connections (or ``selection``'s)."""
    with child(code, *arguments) as started:
        chosen = Selection(**({"pid": started.pid, "children": children} if selection is None else selection))
        with Run(probe, output, selection=chosen, **options) as run:
            yield started, run


def connections_of(code: str, *arguments: str, **options: Any) -> tuple[list[Row], RecordBatch, int]:
    """Run code in a child; the records of its connections, the last batch, its pid."""
    with measured("connections", code, *arguments, **options) as (started, run):
        started.finish()
        rows = records(run)
        run.stop()
        rows += records(run)
        return rows, run.read(), started.pid


def table_of(output: str, code: str, *arguments: str, **options: Any) -> tuple[list[Row], RecordBatch, int]:
    """Run code in a child; the rows of a table of its connections, the batch, its pid."""
    with measured(output, code, *arguments, **options) as (started, run):
        started.finish()
        run.stop()
        batch = run.read()
    return list(batch.rows()), batch, started.pid


def total(rows: list[Row], column: str) -> int:
    """Add up a column."""
    return sum(row[column] for row in rows)
