"""How processes end: once each, with the code or the signal that their parents are told."""

from __future__ import annotations

import json
import os
import signal

import pytest

from sonde.probe import Selection
from sonde.probes.processes.child import (
    PROCESSES,
    assert_told,
    child,
    done,
    records,
    rest_of,
)
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


THREADS_END = """
import threading, time
for _ in range(40):
    pid = os.fork()
    if pid == 0:
        for _ in range(8): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        os._exit(4)
    os.waitpid(pid, 0)
"""


def test_threads_that_end_together_are_one_exit() -> None:
    """40 processes of nine threads end as one each, on all CPUs at once."""
    rows, last, _ = records(THREADS_END)

    ends = [row["exit"] for row in rows if row["event"] == "exit"]
    found = {"fork": sum(row["event"] == "fork" for row in rows), "4": ends.count("4"), "0": ends.count("0")}
    assert_told({"fork": 40, "4": 40, "0": 1}, found, last.accounting)
    assert len(ends) == found["4"] + found["0"]


FIRST_THREAD_ENDS_FIRST = """
import ctypes, threading, time
libc = ctypes.CDLL(None)
pid = os.fork()
if pid == 0:
    def last():
        time.sleep(0.1)
        libc.syscall(60 if os.uname().machine == "x86_64" else 93, 6)
    threading.Thread(target=last).start()
    libc.syscall(60 if os.uname().machine == "x86_64" else 93, 8)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
"""


def test_the_exit_code_is_what_the_parent_learns() -> None:
    """Where threads end one by one, with codes of their own: the kernel decides (since 5.17 the last one's holds)."""
    with child(FIRST_THREAD_ENDS_FIRST) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "lifecycle", selection=selection) as run:
            told = int(done(started))
            run.stop()
            rows = [row for batch in rest_of(run) for row in batch.rows()]

    (end,) = (row for row in rows if row["event"] == "exit" and row["pid"] != started.pid)
    assert told in (6, 8)
    assert told == end["exit_code"]


def test_a_process_that_is_killed_has_the_signal() -> None:
    """SIGKILL and a real-time signal by their names, without an exit code."""
    code = (
        "import signal, time\n"
        "for number in (signal.SIGKILL, signal.SIGRTMIN + 3):\n"
        "    pid = os.fork()\n"
        "    if pid == 0: time.sleep(60)\n"
        "    os.kill(pid, number)\n"
        "    os.waitpid(pid, 0)"
    )
    rows, _, pid = records(code)

    ends = [row for row in rows if row["event"] == "exit" and row["pid"] != pid]
    assert ["SIGKILL", "SIGRTMIN+3"] == [row["exit_signal"] for row in ends]
    assert [None, None] == [row["exit_code"] for row in ends]


def test_ends_are_what_the_parent_was_told() -> None:
    """What the table says of ends equals what waitpid told, over many kinds of end."""
    code = (
        "import signal, time, json\n"
        "seen = {}\n"
        "for number in (0, 1, 2, 77, 255, -signal.SIGTERM, -signal.SIGUSR1):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        if number >= 0: os._exit(number)\n"
        "        os.kill(os.getpid(), -number)\n"
        "    _, status = os.waitpid(pid, 0)\n"
        "    key = str(os.waitstatus_to_exitcode(status))\n"
        "    seen[key] = seen.get(key, 0) + 1\n"
        "print(json.dumps(seen))"
    )
    with child(code) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "events", selection=selection) as run:
            told = json.loads(done(started))
            run.stop()
            batch = run.read()

    told["0"] += 1  # the child itself
    found: dict[str, int] = {}
    for row in batch.rows():
        if row["exits"]:
            ended = (
                row["exit_code"] if row["exit_signal"] is None else -int(signal.Signals[row["exit_signal"]])
            )
            found[str(ended)] = found.get(str(ended), 0) + row["exits"]
    assert told == found
