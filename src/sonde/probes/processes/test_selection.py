"""Whose processes the probe tells of, and in which numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from sonde.probe import Selection
from sonde.probes.processes.child import (
    PROCESSES,
    rest_of,
)
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_what_sonde_starts_itself_is_filtered() -> None:
    """A fork is its parent's doing: sonde's own are no records, unless they are asked for."""
    with Run(PROCESSES, "lifecycle") as run:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        run.stop()
        batches = rest_of(run)
    with Run(PROCESSES, "lifecycle", selection=Selection(own=True)) as run:
        own = os.fork()
        if own == 0:
            os._exit(0)
        os.waitpid(own, 0)
        run.stop()
        with_own = [row for batch in rest_of(run) for row in batch.rows()]

    rows = [row for batch in batches for row in batch.rows()]
    assert [] == [row["pid"] for row in rows if row["ppid"] == os.getpid() and row["event"] == "fork"]
    assert batches[-1].accounting.filtered >= 1
    assert batches[-1].accounting.balanced
    assert ["fork", "exit"] == [row["event"] for row in with_own if row["pid"] == own]


NAMESPACES = """
import json, os, subprocess, sys
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run
with Run(probe("processes"), "lifecycle", selection=Selection(own=True)) as run:
    children = [os.posix_spawn("/bin/true", ["true"], {}) for _ in range(7)]
    for child in children: os.waitpid(child, 0)
    run.stop()
    rows = list(run.read().rows())
    balanced = run.read().accounting.balanced
print(json.dumps({"own": os.getpid(), "children": children, "balanced": balanced,
                  "rows": [[row["event"], row["pid"], row["ppid"]] for row in rows]}))
"""


def test_pids_are_those_of_sondes_own_namespace() -> None:
    """In a pid namespace processes and parents have their numbers there; what is outside is filtered."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", NAMESPACES]
    told = json.loads(subprocess.run(unshare, check=True, capture_output=True, text=True).stdout)

    assert told["own"] < 10
    expected = [[event, pid, told["own"]] for pid in told["children"] for event in ("fork", "exec", "exit")]
    assert sorted(expected) == sorted(told["rows"])
    assert told["balanced"]
