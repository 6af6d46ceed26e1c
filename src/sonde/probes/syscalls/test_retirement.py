"""Rows of ended processes: they leave the kernel, and stay counted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sonde.probe import Selection
from sonde.probes.syscalls.child import SYSCALLS, child
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_rows_of_ended_processes_leave_the_kernel_and_stay_counted() -> None:
    """With a small map and many short processes, ended ones are moved out: every one of them is still a row."""
    code = (
        "for _ in range(60):\n    pid = os.fork()\n"
        "    if pid == 0:\n        for _ in range(11): os.getppid()\n        os._exit(0)\n    os.waitpid(pid, 0)\n"
        "    print(flush=True); sys.stdin.readline()"
    )
    with child(code) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(SYSCALLS, "counts", selection=selection, max_entries=96) as run:
            started.go()
            assert started.process.stdout is not None
            for _ in range(60):
                started.process.stdout.readline()
                run.read()
                started.go()
            started.finish()
            run.stop()
            batch = run.read()

    children = [row for row in batch.rows() if row["syscall"] == "getppid" and not row["is_other"]]
    assert [11] * 60 == [row["count"] for row in children]
    assert batch.accounting.balanced, str(batch.accounting)


def test_the_last_reading_leaves_rows_where_they_are() -> None:
    """There is nothing to make room for, and what was moved would be there twice."""
    code = "for call in (os.getppid, os.getuid, os.getgid, os.getpid): call()"
    with (
        child(code) as started,
        Run(SYSCALLS, "counts", selection=Selection(pid=started.pid), max_entries=4) as run,
    ):
        started.go()
        started.finish()
        run.stop()
        batch = run.read()

        assert 4 == len(run.loaded.maps["counts"].to_numpy()[0])
    assert batch.accounting.balanced, str(batch.accounting)


OTHER_CLOCK = """
import subprocess, sys
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run
code = "import os, sys; sys.stdin.readline(); os.getppid(); os.getuid(); os.getgid(); os.getpgid(0); os.getsid(0); print(flush=True); sys.stdin.readline()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
with Run(probe("syscalls"), "counts", selection=Selection(pid=child.pid), max_entries=8) as run:
    child.stdin.write(b"\\n")
    child.stdin.flush()
    child.stdout.readline()
    alive = len(run.read()), len(run.loaded.maps["counts"])
    child.communicate(b"\\n")
    run.read()
    ended = len(run.loaded.maps["counts"])
    run.stop()
    print(alive[0] - run.read()["is_other"].sum() <= alive[1], ended, run.read().accounting.balanced)
"""


def test_the_living_are_not_taken_for_ended_in_a_time_namespace() -> None:
    """Where /proc tells starts by another clock than the kernel's, rows leave the map when their process has ended."""
    unshare = ["unshare", "--time", "--boottime", "100000", "--fork", sys.executable, "-c", OTHER_CLOCK]
    ran = subprocess.run(unshare, check=False, capture_output=True, text=True)
    if "unshare failed" in ran.stderr:
        pytest.skip(f"no time namespaces here: {ran.stderr.strip()}")

    assert ["True", "0", "True"] == ran.stdout.split(), ran.stderr


def test_beyond_what_is_kept_rows_of_ended_processes_are_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for 50 of them, the rows of 60 ended processes are added up into other, and nothing is missing."""
    monkeypatch.setattr("sonde.records.retired_rows.ROWS_KEPT_MAX", 50)
    code = (
        "for _ in range(60):\n    pid = os.fork()\n"
        "    if pid == 0:\n        for _ in range(11): os.getppid()\n        os._exit(0)\n    os.waitpid(pid, 0)\n"
        "    print(flush=True); sys.stdin.readline()"
    )
    with child(code) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(SYSCALLS, "latency", selection=selection, max_entries=96) as run:
            started.go()
            assert started.process.stdout is not None
            for _ in range(60):
                started.process.stdout.readline()
                run.read()
                started.go()
            started.finish()
            run.stop()
            batch = run.read()

    (other,) = (row for row in batch.rows() if row["is_other"])
    assert other["count"] > 0
    assert len(batch) < 160
    assert batch.accounting.balanced, str(batch.accounting)
