"""The stream ``calls`` on the real kernel: each call is a record, or is accounted for."""

from __future__ import annotations

import ctypes
import os
import time
from typing import Any

import pytest

from sonde.errors import KnobError
from sonde.probe import Selection
from sonde.probes.syscalls.child import SYSCALLS, WORKLOAD, child
from sonde.records.model import RecordBatch
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_a_stream_has_each_call_with_arguments_and_result() -> None:
    """Every call of the child is a record: in order, with its arguments, its result and its errno."""
    code = "import ctypes; libc = ctypes.CDLL(None)\nfor n in range(1, 102): libc.syscall(3, -n)"
    with child(code) as started, Run(SYSCALLS, "calls", selection=Selection(pid=started.pid)) as run:
        batches = [run.read()]
        started.go()
        started.finish()
        run.stop()
        while len(batch := run.read()):
            batches.append(batch)
        accounting = run.read().accounting

    rows = [row for batch in batches for row in batch.rows()]
    closes = [row for row in rows if row["syscall"] == "close" and row["error"] == "EBADF"]
    assert [-n for n in range(1, 102)] == [ctypes.c_int64(row["args"][0]).value for row in closes]
    assert {-9} == {row["result"] for row in closes}
    assert all(row["pid"] == started.pid for row in rows)
    assert all(row["duration_ns"] is None or row["duration_ns"] > 0 for row in rows)
    assert accounting.balanced, str(accounting)
    assert len(rows) == accounting.delivered


def test_a_small_ring_under_a_storm_loses_and_says_so() -> None:
    """A ring of 4 KiB loses records; what was lost is counted exactly."""
    with (
        child(WORKLOAD, "4", "5003") as started,
        Run(SYSCALLS, "calls", selection=Selection(pid=started.pid), max_entries=4096) as run,
    ):
        # The child may still be on its way to the line that it waits for.
        delivered = len(run.read())
        started.go()
        started.finish()
        run.stop()
        while len(batch := run.read()):
            delivered += len(batch)
        accounting = run.read().accounting

    assert 0 < accounting.lost["ring_full"]
    assert 60_036 <= accounting.seen
    assert delivered == accounting.delivered
    assert accounting.balanced, str(accounting)


def test_a_stream_above_a_latency() -> None:
    """With a minimum latency only slow calls are records; the others are filtered."""
    # Python's own sleep is until a moment that it has fixed before the call: the call itself may be shorter.
    code = "import signal\nfor _ in range(5): signal.sigtimedwait([signal.SIGUSR1], 0.03)"
    with child(code) as started:
        selection = Selection(pid=started.pid)
        with Run(SYSCALLS, "calls", selection=selection, values={"min_latency": 20_000_000}) as run:
            run.read()
            started.go()
            started.finish()
            run.stop()
            batch = run.read()

    assert 5 == batch["syscall"].tolist().count("rt_sigtimedwait")
    assert min(value for value in batch["duration_ns"].tolist() if value is not None) >= 20_000_000
    assert batch.accounting.balanced, str(batch.accounting)


# ---- bounded by rate -------------------------------------------------------------------------------------------------

NS_PER_S = 1_000_000_000
STORM = (
    "import threading, time\n"
    "def calls():\n"
    "    for _ in range(3):\n"
    "        for _ in range(5003): os.getppid()\n"
    "        time.sleep(1)\n"
    "threads = [threading.Thread(target=calls) for _ in range(4)]\n"
    "for thread in threads: thread.start()\n"
    "for thread in threads: thread.join()"
)
GETPPID = ("getppid",)


def records_of(run: Run) -> list[RecordBatch]:
    """Read all that waits."""
    batches = []
    while len(batch := run.read()):
        batches.append(batch)
    return batches


def test_no_second_has_more_records_than_the_rate() -> None:
    """101 a second of storms on all CPUs; what was above is lost by its own cause, and the equation holds."""
    with child(STORM) as started:
        options: dict[str, Any] = {
            "selection": Selection(pid=started.pid),
            "values": {"rate_max": 101, "syscall": GETPPID},
        }
        with Run(SYSCALLS, "calls", **options) as run:
            started.go()
            started.finish()
            run.stop()
            times = sorted(each for batch in records_of(run) for each in batch["time_ns"].tolist())
            accounting = run.read().accounting

    seconds = [[times[0]]]
    for time_ns in times[1:]:
        if time_ns - seconds[-1][0] >= NS_PER_S:
            seconds.append([])
        seconds[-1].append(time_ns)
    assert len(times) == accounting.delivered <= 101 * len(seconds)
    # A call that ends just before a second does may find its room in the next one.
    assert max(len(second) for second in seconds) <= 101 + len(os.sched_getaffinity(0))
    assert accounting.lost["rate"] > accounting.delivered > 101
    assert 0 == accounting.lost["ring_full"]
    assert accounting.balanced, str(accounting)


def test_a_rate_that_is_not_reached_loses_nothing() -> None:
    """A bound above what happens changes nothing."""
    with child(WORKLOAD, "4", "1009") as started:
        options: dict[str, Any] = {
            "selection": Selection(pid=started.pid),
            "values": {"rate_max": 10**9, "syscall": GETPPID},
        }
        with Run(SYSCALLS, "calls", **options) as run:
            run.read()
            started.go()
            started.finish()
            run.stop()
            records_of(run)
            accounting = run.read().accounting

    assert 0 == accounting.lost["rate"]
    assert 4 * 1009 - accounting.lost["recursion"] <= accounting.delivered <= 4 * 1009
    assert accounting.balanced, str(accounting)


def test_the_rate_can_be_changed_while_it_runs() -> None:
    """Without bound all 1,009 calls are records, then 13 a second are, then all again."""
    code = "while True:\n    for _ in range(1009): os.getppid()\n    print(flush=True); sys.stdin.readline()"
    delivered = []
    with child(code) as started:
        options: dict[str, Any] = {"selection": Selection(pid=started.pid), "values": {"syscall": GETPPID}}
        with Run(SYSCALLS, "calls", **options) as run:
            assert started.process.stdout is not None
            for rate_max in (0, 13, 0):
                run.set_variable("rate_max", rate_max)
                begun = time.monotonic()
                started.go()
                started.process.stdout.readline()
                delivered.append(sum(len(batch) for batch in records_of(run)))
                if rate_max:
                    most = rate_max * (int(time.monotonic() - begun) + 2)
            run.stop()
            accounting = run.read().accounting

    lost = accounting.lost["recursion"]
    assert 1009 - lost <= delivered[0] <= 1009
    assert 13 - lost <= delivered[1] <= most
    assert 1009 - lost <= delivered[2] <= 1009
    assert accounting.balanced, str(accounting)


def test_a_table_has_no_rate() -> None:
    """What is summed in the kernel is not lost by being much: a rate is refused."""
    with pytest.raises(KnobError, match="rate_max"):
        Run(SYSCALLS, "counts", values={"rate_max": 5})
