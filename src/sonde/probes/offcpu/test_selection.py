"""Which blocks count: by how long they take, by the thread's state, and of whom."""

from __future__ import annotations

import ast
import os
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from kernel.block_runs import Measured, total
from kernel.places import ask, cgroup
from kernel.workers import UNTIL_WAITED, contended, together, workers
from sonde.probe import Selection

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_only_short_ones_or_long_ones(tmp_path: Path) -> None:
    """Blocks of 2 ms and of 60 ms: those below min and above max are filtered, unfinished ones too."""
    path = tmp_path / "taken"
    code = (
        f"open({str(path)!r}, 'w').write(repr([(begun := time.monotonic(), time.sleep(each), time.monotonic() - begun)[2]"
        " for each in (0.002, 0.06) * 5]))"
    )
    bounds = ({"min": 30_000_000}, {"max": 30_000_000})
    with workers() as (worker,), ExitStack() as stack:
        selection = Selection(pid=worker.pid)
        long, short = (stack.enter_context(Measured(selection=selection, values=each)) for each in bounds)
        together([worker], code)
        time.sleep(0.05)
        rows, others = long.rows(), short.rows()

    # An emulator may stand still while somebody sleeps, who then sees that too.
    prolonged = sum(taken >= 0.03 for taken in ast.literal_eval(path.read_text())[::2])
    sleeps, naps = (total(each, "count", reason="sleep") for each in (rows, others))
    assert 5 - long.accounting.lost_total <= sleeps <= 5 + prolonged
    assert 5 - prolonged - short.accounting.lost_total <= naps <= 5
    assert all(30_000_000 <= row["total_ns"] for row in rows)
    assert all((row["max_ns"] or 0) <= 30_000_000 for row in others)
    assert 5 - short.accounting.lost_total <= short.accounting.filtered


@pytest.mark.parametrize("state", ["blocked", "runnable"])
def test_only_one_state(state: str) -> None:
    """Blocked threads alone, or those alone that are runnable and have no CPU."""
    code = f"time.sleep(0.01)\n{UNTIL_WAITED.format(seconds=0.2)}"
    with (
        workers() as (worker,),
        contended(),
        Measured(selection=Selection(pid=worker.pid), values={"state": state}) as measured,
    ):
        together([worker], f"exec({code!r})")
        rows = measured.rows()

    assert 0 < len(rows)
    assert {state == "runnable"} == {row["state"] == "runnable" for row in rows}
    assert 0 < measured.accounting.filtered


def test_threads_of_the_kernel_are_counted_on_request() -> None:
    """They are left out, unless they are asked for; they have no stack of user space."""
    with Measured() as without, Measured(values={"kernel_threads": True}) as measured:
        time.sleep(0.3)
        rows, others = measured.rows(), without.rows()

    # It may also have to make a thread, and wait for a CPU to do so.
    kernel = [row for row in rows if row["pid"] == 2 and row["state"] != "runnable"]
    assert {"k"} == set("".join(row["frame_kinds"] for row in kernel))
    assert {"idle worker"} == {row["reason"] for row in kernel}
    assert 2 not in {row["pid"] for row in others}
    assert os.getpid() not in {row["pid"] for row in rows}


def test_by_name_cgroup_and_children() -> None:
    """The selected process is that which is blocked, whoever runs when its block ends."""
    with cgroup() as place, workers(2) as (one, other), ExitStack() as stack:
        assert "done" == ask(one, "open('/proc/self/comm', 'w').write('sonde-blocks')")
        (place / "cgroup.procs").write_text(str(one.pid))
        selections = (
            Selection(comm="sonde-blocks"),
            Selection(cgroup=str(place)),
            Selection(pid=one.pid, children=True),
        )
        runs = [stack.enter_context(Measured(selection=each)) for each in selections]
        together([one, other], "subprocess.run(['sleep', '0.05'], check=True)")
        by_comm, by_cgroup, followed = (run.rows() for run in runs)
        (place.parent / "cgroup.procs").write_text(str(one.pid))

    # A child has its parent's name until it is another program.
    assert 1 <= len({row["pid"] for row in by_comm}) <= 2
    for rows in (by_comm, by_cgroup, followed):
        pids = {row["pid"] for row in rows}
        assert one.pid in pids
        assert other.pid not in pids
    for rows in (by_cgroup, followed):
        assert 2 == len({row["pid"] for row in rows})
        assert {"sleep"} == {row["comm"] for row in rows if row["reason"] == "sleep"}
