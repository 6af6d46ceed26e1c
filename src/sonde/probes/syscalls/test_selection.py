"""Whose calls count: by process, name, cgroup and namespace, on the real kernel."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sonde.probe import Selection
from sonde.probes.syscalls.child import SYSCALLS, assert_counted, child, counts
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_sondes_own_calls_are_filtered() -> None:
    """What this process does is no row, and is counted as filtered; with own it is a row."""
    with Run(SYSCALLS, "counts") as run:
        for _ in range(1009):
            os.getppid()
        run.stop()
        batch = run.read()
    with Run(SYSCALLS, "counts", selection=Selection(own=True)) as run:
        for _ in range(1009):
            os.getppid()
        run.stop()
        with_own = run.read()

    assert os.getpid() not in batch["pid"].tolist()
    assert 1009 <= batch.accounting.filtered
    assert_counted({("getppid", None): 1009}, with_own, os.getpid())


def test_by_name_of_the_process() -> None:
    """comm is the process's name; others are filtered."""
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'sonde-named')\nfor _ in range(211): os.getppid()"
    with child(code) as started, Run(SYSCALLS, "counts", selection=Selection(comm="sonde-named")) as run:
        started.go()
        started.finish()
        run.stop()
        batch = run.read()

    assert 211 == counts(batch)["getppid", None]
    assert {"sonde-named"} == set(batch["comm"].tolist())
    assert {started.pid} == set(batch["pid"].tolist())


def cgroup2() -> Path | None:
    """Find where cgroup v2 is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


@pytest.mark.skipif(cgroup2() is None, reason="cgroup v2 is not mounted")
def test_by_cgroup_and_all_below_it() -> None:
    """A process in a cgroup below the selected one counts; this test's other children do not."""
    root = cgroup2()
    assert root is not None
    above = root / f"sonde-test-{os.getpid()}"
    below = above / "inner"
    below.mkdir(parents=True)
    try:
        with (
            child("for _ in range(307): os.getppid()") as inside,
            child("for _ in range(307): os.getppid()") as outside,
        ):
            (below / "cgroup.procs").write_text(str(inside.pid))
            with Run(SYSCALLS, "counts", selection=Selection(cgroup=str(above))) as run:
                for started in (inside, outside):
                    started.go()
                    started.finish()
                run.stop()
                batch = run.read()
    finally:
        below.rmdir()
        above.rmdir()

    assert {inside.pid} == set(batch["pid"].tolist())
    assert 307 == counts(batch)["getppid", None]


NAMESPACES = """
import json, os, subprocess, sys
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run
child = subprocess.Popen([sys.executable, "-c", "import os, sys; sys.stdin.readline()\\nfor _ in range(401): os.getppid()"],
                         stdin=subprocess.PIPE)
with Run(probe("syscalls"), "counts") as run:
    for _ in range(83): os.getppid()
    child.communicate(b"\\n")
    run.stop()
    batch = run.read()
rows = [[row["pid"], row["syscall"], row["count"]] for row in batch.rows() if row["syscall"] == "getppid"]
print(json.dumps({"own": os.getpid(), "child": child.pid, "rows": rows, "balanced": batch.accounting.balanced}))
"""


def test_pids_are_those_of_sondes_own_namespace() -> None:
    """In a pid namespace sonde knows itself and its child by their numbers there; what is outside is filtered."""
    unshare = [
        "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", NAMESPACES,
    ]  # fmt: skip
    told = json.loads(subprocess.run(unshare, check=True, capture_output=True, text=True).stdout)

    assert told["own"] < 10
    assert [[told["child"], "getppid", 401]] == told["rows"]
    assert told["balanced"]


REUSE = """
import json, os, sys
from sonde.probes import probe
from sonde.run import Run
def fork_as(pid, calls):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))
    child = os.fork()
    if child == 0:
        for _ in range(calls): os.getppid()
        os._exit(0)
    os.waitpid(child, 0)
    return child
with Run(probe("syscalls"), "latency") as run:
    pids = [fork_as(31337, 101), fork_as(31337, 103)]
    run.stop()
    rows = [[row["pid"], row["count"]] for row in run.read().rows() if row["syscall"] == "getppid"]
print(json.dumps({"pids": pids, "rows": sorted(rows)}))
"""


def test_a_reused_pid_is_another_process() -> None:
    """Two processes that had the same number one after the other are two rows."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", REUSE]
    ran = subprocess.run(unshare, check=False, capture_output=True, text=True)
    if "ns_last_pid" in ran.stderr and "Errno" in ran.stderr:
        pytest.skip(f"ns_last_pid cannot be written: {ran.stderr.splitlines()[-1]}")
    told = json.loads(ran.stdout)

    assert [31337, 31337] == told["pids"]
    assert [[31337, 101], [31337, 103]] == told["rows"]
