"""Who, on the real kernel: identities from the stream of lives, for rows of whatever has counted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from kernel.compiled import program_of
from sonde.enrich.process import Processes
from sonde.enrich.process_rows import ProcessRows
from sonde.enrich.who import Who
from sonde.probe import Selection
from sonde.probes import probe
from sonde.records.model import RecordBatch
from sonde.run import Run

LIVES, CALLS = probe("processes"), probe("syscalls")
IS_SLOW = "SONDE_VM_KERNEL" in os.environ
"""An emulated machine makes a fiftieth of the processes in a second."""


def drain(run: Run, who: Who) -> int:
    """Give it all records that there are; how many."""
    count = 0
    while len(batch := run.read()):
        who.take(batch)
        count += len(batch)
    return count


def rows_of(batch: RecordBatch, who: Who) -> list[dict[str, Any]]:
    return list(who.identify(batch).rows())


def test_rows_of_processes_that_lived_five_milliseconds_are_theirs(tmp_path: Path) -> None:
    """They were gone before the table was read: program, path, parent and user are known all the same."""
    program = tmp_path / "short lived"
    program.write_bytes(Path("/bin/sleep").resolve().read_bytes())
    program.chmod(0o755)
    who = Who(by=("executable", "path", "command", "user", "parent", "pid"))
    ours = Selection(pid=os.getpid(), children=True, own=True)
    with (
        Run(LIVES, "lifecycle", selection=ours, values={"cgroups": True}) as lives,
        Run(CALLS, "counts", selection=ours, differences=True) as calls,
    ):
        drain(lives, who)
        pids = [os.posix_spawn(program, [str(program), "0.005"], {}) for _ in range(7)]
        for pid in pids:
            os.waitpid(pid, 0)
        calls.stop()
        drain(lives, who)
        rows = [row for row in rows_of(calls.read(), who) if row["pid"] in pids]

    assert set(pids) == {row["pid"] for row in rows}
    # Before its exec a process is what its parent is.
    own = os.path.basename(os.readlink("/proc/self/exe"))
    assert {"short lived"} == {row["process.executable.name"] for row in rows} - {own}
    assert {str(program)} == {row["process.executable.path"] for row in rows}
    assert {os.getpid()} == {row["process.parent_pid"] for row in rows}
    assert {"short lived"} == {row["process.command"] for row in rows}


def storm(count: int, *options: str) -> tuple[list[str], Selection]:
    """The command that makes so many processes, and the selection of them: by name, for it is not started yet."""
    program = program_of("make_processes.c")
    return [str(program), str(count), *options], Selection(comm=program.name[:15])


def resident_bytes() -> int:
    """What this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_storm_of_forks_is_told_of_whole() -> None:
    """Processes at 5,000 a second (where nobody else runs): each is a fork and an exit, in stream and table."""
    count = 4_003 if IS_SLOW else 20_011
    who = Who(by=("executable",))
    who.processes.begin()
    command, selection = storm(count, "5000")
    with (
        Run(LIVES, "lifecycle", selection=selection) as lives,
        Run(LIVES, "events", selection=selection) as events,
    ):
        records = 0
        with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
            while started.poll() is None:
                records += drain(lives, who)
                time.sleep(0.05)
        lives.stop()
        events.stop()
        records += drain(lives, who)
        accounting, batch = lives.read().accounting, events.read()

    # The storm itself is an exec and an exit more. While a program is preempted (Linux 7.x) the kernel skips some.
    skipped = accounting.lost["recursion"]
    assert skipped == accounting.lost_total
    assert 2 * count + 2 - skipped <= records <= 2 * count + 2
    assert accounting.balanced, str(accounting)
    found = {column: int(batch[column].sum()) for column in ("forks", "execs", "exits")}
    missing = {
        "forks": count - found["forks"],
        "execs": 1 - found["execs"],
        "exits": count + 1 - found["exits"],
    }
    assert min(missing.values()) >= 0
    assert sum(missing.values()) <= batch.accounting.lost["recursion"]
    assert batch.accounting.balanced, str(batch.accounting)
    rows = who.processes.rows
    assert skipped or not rows.living[rows.newest(started.pid)]


def test_a_storm_takes_no_memory() -> None:
    """Many more processes through 4,096 rows: what the first half has taken is enough for the second."""
    count = 8_009 if IS_SLOW else 40_009
    processes = Processes(rows=ProcessRows(count_max=4096))
    who = Who(by=("executable",), processes=processes)
    processes.begin()
    sizes = []
    command, selection = storm(count)
    with Run(LIVES, "lifecycle", selection=selection) as lives:
        records = 0
        with subprocess.Popen(command, stdout=subprocess.PIPE) as started:
            while started.poll() is None:
                records += drain(lives, who)
                sizes.append((records, resident_bytes()))
                time.sleep(0.01)
        lives.stop()
        records += drain(lives, who)
        sizes.append((records, resident_bytes()))
        accounting = lives.read().accounting

    assert accounting.balanced, str(accounting)
    assert records <= 2 * count + 2 <= records + accounting.lost_total
    assert len(processes.rows) <= 4096
    # Where this was slower than the storm, not all came.
    half = next(size for seen, size in sizes if seen >= records / 2)
    assert sizes[-1][1] - half < 8 << 20


REUSE = """
import json, os, sys
from sonde.enrich.who import Who
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run

def spawn_as(pid, path, code):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))
    child = os.fork()
    if child == 0:
        for _ in range(code): os.getppid()
        os.execv(path, ["x", "0.001"])
    os.waitpid(child, 0)
    return child

who = Who(by=("executable", "pid"))
own = Selection(pid=os.getpid(), children=True, own=True)
with Run(probe("processes"), "lifecycle", selection=own) as lives, Run(probe("syscalls"), "counts", selection=own) as calls:
    pids = [spawn_as(31337, path, n) for n, path in ((101, "/bin/true"), (103, "/bin/sleep"), (107, "/bin/echo"))]
    calls.stop()
    lives.stop()
    while len(batch := lives.read()): who.take(batch)
    rows = [row for row in who.identify(calls.read()).rows() if row["pid"] == 31337]
names = {row["process_start_ns"]: row["process.executable.name"] for row in rows}
births = {row["process_start_ns"]: row["process.creation.time"] for row in rows}
print(json.dumps({"pids": pids, "names": [names[start] for start in sorted(names)], "births": len(set(births.values())),
                  "starts": len(births)}), file=sys.stderr)
"""


def test_a_number_that_is_used_again_has_another_identity() -> None:
    """Three processes of one number, one after the other: each row has the program of its own."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", REUSE]
    ran = subprocess.run(unshare, check=False, capture_output=True, text=True)
    if "ns_last_pid" in ran.stderr and "Errno" in ran.stderr:
        pytest.skip(f"ns_last_pid cannot be written: {ran.stderr.splitlines()[-1]}")
    told = json.loads(ran.stderr.splitlines()[-1])

    assert [31337] * 3 == told["pids"]
    expected = [os.path.basename(os.path.realpath(path)) for path in ("/bin/true", "/bin/sleep", "/bin/echo")]
    assert expected == told["names"]
    assert 3 == told["starts"]


CONTAINER = "5e" * 32
IN_A_CONTAINER = """
import os, sys
path = sys.argv[1]
sys.stdin.readline()
os.makedirs(path)
pid = os.fork()
if pid == 0:
    with open(path + "/cgroup.procs", "w") as file: file.write("0")
    os.execv("/bin/sleep", ["sleep", "0.01"])
os.waitpid(pid, 0)
print(pid, flush=True)
while os.path.exists(path):
    try: os.removedirs(path)
    except OSError: pass
"""


def test_a_container_that_is_gone_has_its_rows(cgroup: Path) -> None:
    """Made, used and removed before anybody looked: id, pod and no unit, on the rows of the process and of its end."""
    pod = "4f2b7c1a_9d3e_4b6f_8a5c_0e1d2c3b4a59"
    path = cgroup / "kubepods.slice" / f"kubepods-pod{pod}.slice" / f"cri-containerd-{CONTAINER}.scope"
    # The folder of the test stays until it is over.
    (cgroup / "kept").mkdir()
    who = Who(by=("executable", "container", "pod", "unit"))
    with subprocess.Popen(
        [sys.executable, "-c", IN_A_CONTAINER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as engine:
        chosen = Selection(pid=engine.pid, children=True)
        with (
            Run(LIVES, "lifecycle", selection=chosen, values={"cgroups": True}) as lives,
            Run(LIVES, "events", selection=chosen) as events,
            Run(CALLS, "counts", selection=chosen) as calls,
        ):
            out, _ = engine.communicate("\n", timeout=60)
            for run in (calls, events, lives):
                run.stop()
            drain(lives, who)
            of_process = [row for row in rows_of(calls.read(), who) if row["pid"] == int(out)]
            of_end = [row for row in rows_of(events.read(), who) if row["comm"] == "sleep" and row["exits"]]
    (cgroup / "kept").rmdir()

    assert not path.exists()
    assert of_process
    assert of_end
    for row in (*of_process, *of_end):
        assert CONTAINER == row["container.id"]
        assert pod.replace("_", "-") == row["k8s.pod.uid"]
        assert row["sonde.systemd.unit"] is None
    assert "sleep" in {row["process.executable.name"] for row in of_process}
