"""Cgroups that are gone: their names are known, and what ran there stays counted."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from kernel.places import cgroup
from sonde.probe import Selection
from sonde.probes.processes.child import (
    PROCESSES,
    child,
    records,
)
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


@pytest.fixture
def place() -> Iterator[Path]:
    with cgroup() as made:
        yield made


def test_a_cgroup_that_is_gone_is_known(place: Path) -> None:
    """One that is made, used for a moment and removed has its path in the records of what ran there."""
    code = (
        "os.mkdir(sys.argv[1])\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n"
        "    os.execv('/bin/true', ['true'])\n"
        "os.waitpid(pid, 0)\n"
        "for _ in range(100_000):\n"
        "    try: os.rmdir(sys.argv[1]); break\n"
        "    except OSError: pass"
    )
    gone = place / ("docker-" + "5e" * 32 + ".scope")
    rows, last, _ = records(code, str(gone), values={"cgroups": True})

    assert not gone.exists()
    (made,) = (row for row in rows if row["event"] == "cgroup" and row["text"].startswith(f"/{place.name}/"))
    assert f"/{place.name}/{gone.name}" == made["text"] == made["cgroup"]
    (execute,) = (row for row in rows if row["event"] == "exec")
    (move,) = (row for row in rows if row["event"] == "move")
    assert made["cgroup_id"] == execute["cgroup_id"] == move["cgroup_id"]
    assert made["text"] == execute["cgroup"]
    assert "5e" * 6 == execute["place"]
    assert execute["pid"] == move["pid"]
    assert last.accounting.balanced, str(last.accounting)


def test_rows_of_cgroups_that_are_gone_leave_the_kernel_and_stay_counted(place: Path) -> None:
    """With a small map and many short-lived cgroups, every one of them is still a row, and the map has room."""
    code = (
        "for number in range(40):\n"
        "    path = f'{sys.argv[1]}/{number}'\n"
        "    os.mkdir(path)\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        open(path + '/cgroup.procs', 'w').write('0')\n"
        "        os._exit(5)\n"
        "    os.waitpid(pid, 0)\n"
        "    for _ in range(100_000):\n"
        "        try: os.rmdir(path); break\n"
        "        except OSError: pass\n"
        "    print(flush=True); sys.stdin.readline()"
    )
    with child(code, str(place)) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "events", selection=selection, max_entries=16) as run:
            assert started.stdin is not None
            assert started.stdout is not None
            for _ in range(41):
                started.stdin.write("\n")
                started.stdin.flush()
                if started.stdout.readline():
                    run.read()
            started.communicate(timeout=60)
            in_kernel = len(run.loaded.maps["events"])  # type: ignore[arg-type]
            run.stop()
            batch = run.read()

    ends = [row for row in batch.rows() if row["exit"] == "5" and not row["is_other"]]
    assert 40 == len({row["cgroup_id"] for row in ends}) == sum(row["exits"] for row in ends)
    assert in_kernel <= 16
    assert batch.accounting.balanced, str(batch.accounting)
