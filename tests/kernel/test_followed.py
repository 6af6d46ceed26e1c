"""Children that ran before: followed with whatever /proc tells, and counted where there is no room for them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from sonde.enrich import descendants
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run, selection

PID_MAX = 2**22
ROOM = 10_240
CALLS = 300
CALLING = f"import os, sys; sys.stdin.read(1); [os.getppid() for _ in range({CALLS})]"


@pytest.mark.parametrize("are_told", [True, False], ids=["lists of children", "none"])
def test_what_a_child_does_that_ran_before_is_counted(
    *, are_told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if are_told and not descendants._are_told():
        pytest.skip("this kernel lists no children (CONFIG_PROC_CHILDREN)")
    monkeypatch.setattr(descendants, "_are_told", lambda: are_told)
    with subprocess.Popen([sys.executable, "-c", CALLING], stdin=subprocess.PIPE) as child:
        chosen = Selection(pid=os.getpid(), children=True)
        with Run(probe("syscalls"), "counts", values={"syscall": "getppid"}, selection=chosen) as run:
            child.communicate(b".")
            run.stop()
            rows = [row for row in run.read().rows() if row["pid"] == child.pid]

    assert sum(row["count"] for row in rows) == CALLS


def test_those_for_whom_there_is_no_room_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes that cannot be, for none of these may end meanwhile."""
    many = [os.getpid(), *range(PID_MAX, PID_MAX + ROOM + 4)]
    monkeypatch.setattr(selection, "descendants", lambda first: iter(many))
    with Run(probe("processes"), "events", selection=Selection(pid=os.getpid(), children=True)) as run:
        run.stop()
        accounting = run.read().accounting

    assert accounting.notes["unfollowed"] == 5
