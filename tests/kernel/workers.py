"""Processes on one CPU that do what they are told, and are blocked in between: for probes on the scheduler's hooks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from kernel.places import ask

CPU = max(os.sched_getaffinity(0))
Worker = subprocess.Popen[str]
# It does what a line says, and says when it is done: between two lines it is blocked.
_WORKER = """
import os, subprocess, sys, threading, time
{setup}
os.sched_setaffinity(0, {{{cpu}}})
for line in sys.stdin:
    exec(line)
    print("done", flush=True)
"""


def is_blocked(pid: int) -> bool:
    """Tell whether all threads of a process are blocked."""
    return all(
        path.read_text().rpartition(")")[2].split()[0] == "S"
        for path in Path(f"/proc/{pid}/task").glob("*/stat")
    )


def wait_until_blocked(worker: Worker) -> None:
    """Wait until all threads of a process are blocked."""
    for _ in range(2000):
        if is_blocked(worker.pid):
            return
        time.sleep(0.005)
    raise AssertionError(f"process {worker.pid} does not sleep")


@contextmanager
def workers(count: int = 1, *, setup: str = "") -> Iterator[list[Worker]]:
    """Give processes that share one CPU, and that are blocked until they get a line; ``setup`` is what they do first."""
    with ExitStack() as stack:
        started = []
        for _ in range(count):
            command = [sys.executable, "-c", _WORKER.format(setup=setup, cpu=CPU)]
            worker = stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            stack.callback(worker.kill)
            started.append(worker)
        for worker in started:
            assert "done" == ask(worker, "pass")
            wait_until_blocked(worker)
        yield started


def together(started: list[Worker], line: str) -> None:
    """Have all of them do something at the same time, and wait until all are blocked again."""
    for worker in started:
        assert worker.stdin is not None
        worker.stdin.write(f"{line}\n")
        worker.stdin.flush()
    for worker in started:
        assert worker.stdout is not None
        assert "done\n" == worker.stdout.readline()
        wait_until_blocked(worker)
