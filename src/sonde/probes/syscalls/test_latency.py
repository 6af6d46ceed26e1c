"""The table ``latency`` on the real kernel: how long, with what error, and what has no duration."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from sonde.bpf.features import have
from sonde.bpf.trial import kernel_btf_has
from sonde.probe import Selection
from sonde.probes.syscalls.child import (
    SYSCALLS,
    WORKLOAD,
    assert_counted,
    child,
    counts,
    measured,
    wait_until_blocked,
)
from sonde.probes.syscalls.workload import Workload
from sonde.run import Run
from sonde.run.reading import Reading

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_durations_agree_with_themselves() -> None:
    """Every timed call is in a bucket; quantiles lie below the maximum and the sum is between its bounds."""
    # Python's own sleep is until a moment that it has fixed before the call: the call itself may be shorter.
    batch, _ = measured("import signal\nfor _ in range(7): signal.sigtimedwait([signal.SIGUSR1], 0.011)")

    (row,) = (row for row in batch.rows() if row["syscall"] == "rt_sigtimedwait")
    assert 7 == row["count"]
    assert 7 * 11_000_000 <= row["duration_sum_ns"] <= 7 * row["duration_max_ns"]
    assert 11_000_000 / 2**0.5 <= row["duration_p50_ns"] <= row["duration_p99_ns"] <= row["duration_max_ns"]


def test_what_follows_from_buckets_is_there_without_them() -> None:
    """Who shows rows leaves the buckets out, which are nine tenths of one; one of them needs more than 16 bits here."""
    code = "for _ in range(70_000): os.getppid()\nfor _ in range(9): os.stat('/')"
    with child(code) as started, Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
        started.go()
        started.finish()
        run.stop()
        whole = run.read()
        lean = Reading(SYSCALLS, run.output, run.loaded, values={}, histograms=False).read()

    assert {"duration_buckets"} == set(whole.columns) - set(lean.columns)
    assert set(whole.schema.names) - set(lean.schema.names) == {"duration_buckets"}
    names = [name for name in whole.columns if name != "duration_buckets"]
    assert list(whole.rows(names)) == list(lean.rows(names))
    assert whole.accounting.aggregated == lean.accounting.aggregated
    assert 70_000 in lean["count"]


def test_a_call_that_is_still_running_is_in_flight() -> None:
    """A process blocked in read is one call in flight, outside of lost, and the equation holds without it."""
    code = "r, w = os.pipe(); print('ready', flush=True); os.read(r, 1)"
    with child(code) as started, Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
        started.go()
        assert started.process.stdout is not None
        assert "ready\n" == started.process.stdout.readline()
        wait_until_blocked(started.pid)
        run.stop()
        accounting = run.read().accounting

    assert 1 == accounting.in_flight
    assert accounting.balanced, str(accounting)
    assert 0 == accounting.lost_total


def test_a_thread_that_dies_inside_a_call_leaves_nothing_in_flight() -> None:
    """exit_group ends a thread blocked in read; its call ends as the kernel's own result says."""
    code = (
        "import threading, time\n"
        "r, w = os.pipe()\n"
        "reader = threading.Thread(target=os.read, args=(r, 1), daemon=True)\n"
        "reader.start()\n"
        # The number of the call, and its first argument; "running" where the thread is not blocked.
        "path = f'/proc/self/task/{reader.native_id}/syscall'\n"
        "while open(path).read().split()[1:2] != [hex(r)]: time.sleep(0.001)\n"
        "os._exit(0)"
    )
    batch, _ = measured(code)

    found = counts(batch)
    assert 1 == found["exit_group", None]
    assert 1 == found.get(("read", "ERESTARTSYS"), 0)
    assert 0 == batch.accounting.in_flight
    assert batch.accounting.balanced, str(batch.accounting)


def test_a_call_begun_before_is_counted_without_duration() -> None:
    """A read that began before attach and returns after it is untimed."""
    with child("print('ready', flush=True); print(sys.stdin.readline(), flush=True)") as started:
        started.go()
        assert started.process.stdout is not None
        assert "ready\n" == started.process.stdout.readline()
        wait_until_blocked(started.pid)
        with Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
            started.go()
            started.finish()
            run.stop()
            batch = run.read()

    reads = [row for row in batch.rows() if row["syscall"] == "read"]
    assert 1 <= sum(row["untimed"] for row in reads)
    assert batch.accounting.balanced, str(batch.accounting)


FORKS = "for _ in range(101):\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n    os.waitpid(pid, 0)"


def test_a_childs_return_from_fork_is_no_call() -> None:
    """101 forks are 101 calls, though 202 processes return from them; children are counted as their own."""
    batch, _ = measured(FORKS, children=True)

    by_name: dict[str, int] = {}
    for row in batch.rows():
        if row["syscall"] in ("clone", "clone3", "fork", "vfork"):
            by_name[row["syscall"]] = by_name.get(row["syscall"], 0) + row["count"]
    assert 101 == sum(by_name.values())
    pids = {row["pid"] for row in batch.rows() if row["syscall"] == "exit_group"}
    assert 102 == len(pids)
    assert batch.accounting.balanced, str(batch.accounting)


def test_an_unknown_number_has_a_name_of_its_own() -> None:
    """syscall_N, with ENOSYS."""
    code = "import ctypes; libc = ctypes.CDLL(None)\nfor _ in range(13): libc.syscall(1999)"
    batch, _ = measured(code)

    assert 13 == counts(batch)["syscall_1999", "ENOSYS"]


def test_rows_that_are_made_in_a_burst_are_all_there() -> None:
    """The kernel's allocator keeps some two dozen for each CPU, and refills when it is interrupted."""
    code = "import ctypes; call = ctypes.CDLL(None).syscall\nfor number in range(2000, 4000): call(number)"
    batch, _ = measured(code)

    found = counts(batch)
    assert [1] * 2000 == [found.get((f"syscall_{number}", "ENOSYS"), 0) for number in range(2000, 4000)]
    assert batch.accounting.balanced, str(batch.accounting)


def test_rows_take_memory_when_they_are_made() -> None:
    if not have("maps_on_demand"):
        pytest.skip(f"maps_on_demand: {have('maps_on_demand').reason}")
    if not kernel_btf_has("htab_map_mem_usage"):
        pytest.skip("the kernel computes what a map would take when full: Linux 6.4 or later tells")
    with child("pass") as started, Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
        information = Path(f"/proc/self/fdinfo/{run.loaded.maps['latency'].fd}").read_text()
    (line,) = [each for each in information.splitlines() if each.startswith("memlock:")]
    assert int(line.split()[1]) < 1 << 20


def test_the_kernels_internal_results_have_names() -> None:
    """A poll that a signal interrupts ends in ERESTART_RESTARTBLOCK or ERESTARTNOHAND inside the kernel."""
    code = (
        "import signal, time, select\n"
        "class Woken(Exception): pass\n"
        "def wake(*_): raise Woken\n"
        "signal.signal(signal.SIGALRM, wake)\n"
        "for wait in (lambda: time.sleep(60), lambda: select.select([], [], [], 60)):\n"
        "    try: print(flush=True); wait()\n"
        "    except Woken: pass"
    )
    with child(code) as started, Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
        started.go()
        assert started.process.stdout is not None
        for _ in range(2):
            assert "\n" == started.process.stdout.readline()
            wait_until_blocked(started.pid)
            os.kill(started.pid, signal.SIGALRM)
        started.finish()
        run.stop()
        batch = run.read()

    found = counts(batch)
    # Python sleeps until a point in time, which is restarted by hand; a relative sleep would be by the kernel.
    assert 1 == found["clock_nanosleep", "ERESTARTNOHAND"]
    assert 1 == sum(found.get((name, "ERESTARTNOHAND"), 0) for name in ("select", "pselect6"))
    assert all(error is None for name, error in found if name == "rt_sigreturn")
    assert 2 == found["rt_sigreturn", None]


def test_only_errors() -> None:
    """With errors set, calls that succeed are filtered."""
    batch, _ = measured(WORKLOAD, "3", "101", values={"errors": True})

    assert_counted({("close", "EBADF"): 303}, batch)
    assert all(error is not None for _, error in counts(batch))
    assert batch.accounting.filtered >= 606
    assert batch.accounting.balanced, str(batch.accounting)


def test_reading_while_it_runs_loses_nothing() -> None:
    """A reader in a tight loop beside the workload does not disturb the counts."""
    with child(WORKLOAD, "4", "5003") as started, Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
        done = threading.Event()
        reads = []

        def read() -> None:
            while not done.is_set():
                reads.append(len(run.read()))

        reader = threading.Thread(target=read)
        reader.start()
        started.go()
        try:
            started.finish()
        finally:
            done.set()
            reader.join()
        run.stop()
        batch = run.read()

    assert_counted(Workload(4, 5003).expected, batch)
    assert len(reads) > 1
    assert batch.accounting.balanced, str(batch.accounting)
