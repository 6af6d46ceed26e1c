"""Processes on one CPU that do what they are told, and are blocked in between: for probes on the scheduler's hooks."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
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
    return all(state == "S" for state in _of_threads(pid, "stat", r"(?s).*\) (\S)"))


def _of_threads(pid: int, name: str, pattern: str) -> list[str]:
    """Find something in a file of each thread in /proc; a thread that ends meanwhile is none any more."""
    found: list[str] = []
    for path in sorted(Path(f"/proc/{pid}/task").iterdir()):
        with suppress(FileNotFoundError, ProcessLookupError):
            found += re.findall(pattern, (path / name).read_text())
    return found


def wait_until_blocked(worker: Worker) -> None:
    """Wait until all threads of a process are blocked; looked at one after the other they may wake each other."""
    for _ in range(4000):
        before = _switches(worker.pid)
        if is_blocked(worker.pid) and is_blocked(worker.pid) and before == _switches(worker.pid):
            return
        time.sleep(0.005)
    raise AssertionError(f"process {worker.pid} does not sleep")


def _switches(pid: int) -> list[str]:
    return _of_threads(pid, "status", r"_ctxt_switches:\s+(\d+)")


@contextmanager
def contended() -> Iterator[None]:
    """Let another worker want the workers' CPU all the time."""
    with workers() as (rival,):
        assert rival.stdin is not None
        rival.stdin.write("exec('while True: pass')\n")
        rival.stdin.flush()
        while is_blocked(rival.pid):
            time.sleep(0.005)
        yield


UNTIL_WAITED = (
    "told = lambda: int(open('/proc/thread-self/schedstat').read().split()[1])\n"
    "begun = told()\n"
    "while told() < begun + {seconds} * 1_000_000_000: pass"
)
"""Code that wants a CPU until it has waited for one for so many seconds, as the scheduler tells."""


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
