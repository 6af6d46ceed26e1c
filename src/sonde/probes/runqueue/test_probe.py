"""The probe ``runqueue`` on the real kernel: each wait for a CPU counts once, for as long as the scheduler says."""

from __future__ import annotations

import os
import time
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from kernel.places import ask, cgroup
from kernel.workers import CPU, is_blocked, together, wait_until_blocked, workers
from sonde.bpf.features import have
from sonde.errors import KernelError
from sonde.probe import Probe, Selection
from sonde.probes import probe
from sonde.probes.runqueue.workload import Waited
from sonde.records.model import RecordBatch
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]
RUNQUEUE = probe("runqueue")
SETUP = "from sonde.probes.runqueue.workload import work"


UNSHOWN_SHARE = 0 if "SONDE_VM_KERNEL" in os.environ else 0.1
"""Of so many waits the beginning is unseen at most, where the kernel does not show all wake-ups (README.md, "Caveats")."""
TOLERANCE = 0.05 if "SONDE_VM_KERNEL" in os.environ else 0.02
"""An emulated processor takes 100 µs for our programs, which are in the scheduler's figure or ours, and not in both."""

APART_NS = 1_000_000 if "SONDE_VM_KERNEL" in os.environ else 0
"""The scheduler reads its clock a moment before our program does, and where the processor is emulated the emulator may have to
wait in between: some milliseconds of some waits, on either side, however long they are."""

PROCESSES = 7
"""So many want one CPU, that waits are long."""


def waited(batch: RecordBatch, pid: int) -> Waited:
    """Add up the rows of a process."""
    rows = [row for row in batch.rows() if row["pid"] == pid]
    return Waited(sum(row["duration_sum_ns"] or 0 for row in rows), sum(row["count"] for row in rows))


def untimed(batch: RecordBatch, pid: int) -> int:
    """Count the waits of a process whose beginning was not seen."""
    return sum(row["untimed"] for row in batch.rows() if row["pid"] == pid)


def assert_as_told(told: Waited, batch: RecordBatch, pid: int) -> Waited:
    """As many waits of a process as its threads have been switched, and their time to 2 %; gives what was found.

    There are kernels that do not show all switches to programs (README.md, "Caveats"): what is missing then is lost, by the
    probe's own account; of each process that last switch is not, after which none was shown.
    """
    untraced, found = batch.accounting.lost["untraced"], waited(batch, pid)
    missing = told.count - found.count
    assert 0 <= missing <= (untraced + 1 if untraced else 0)
    begun_unseen = untimed(batch, pid)
    longest = max(row["duration_max_ns"] or 0 for row in batch.rows() if row["pid"] == pid)
    bound = TOLERANCE * told.time_ns + APART_NS * told.count + (missing + begun_unseen) * longest
    assert abs(told.time_ns - found.time_ns) < bound
    assert untraced == batch.accounting.lost_total
    # Distributions' kernels show all switches, and all wake-ups.
    assert untraced == begun_unseen == 0 or "SONDE_VM_KERNEL" not in os.environ
    assert batch.accounting.balanced, str(batch.accounting)
    return found


def one_way(name: str) -> Probe:
    """Give the probe with one of its variants alone."""
    return replace(RUNQUEUE, variants=tuple(each for each in RUNQUEUE.variants if each.name == name))


@pytest.mark.parametrize("variant", [each.name for each in RUNQUEUE.variants])
def test_waits_are_those_that_the_scheduler_counts(variant: str) -> None:
    """Processes that want one CPU: as many waits as switches, and their time to 2 %."""
    with workers(PROCESSES, setup=SETUP) as started:
        before = [Waited.of(worker.pid) for worker in started]
        try:
            run = Run(one_way(variant))
            run.start()
        except KernelError as error:
            # Task storage is for LSM programs before Linux 5.12: then the next variant is the one that is used.
            if variant != RUNQUEUE.variants[0].name or have("task_storage_in_tracing"):
                raise
            pytest.skip(f"no task storage in tracing programs: {error}")
        with run:
            together(started, "work(101)")
            run.stop()
            batch = run.read()
        after = [Waited.of(worker.pid) for worker in started]

    for worker, then, now in zip(started, before, after, strict=True):
        assert 101 < assert_as_told(now - then, batch, worker.pid).count
        assert {CPU} == {row["cpu"] for row in batch.rows() if row["pid"] == worker.pid}


def test_threads_that_begin_while_it_runs_are_timed_from_their_first_wait() -> None:
    """Seven threads of a process that was there before: all of their switches, and none untimed."""
    one = "work(13, cpu_seconds=0.02), done.wait(), stop.wait()"
    threads = f"[threading.Thread(target=lambda: ({one}), daemon=True).start() for _ in range(7)]"
    begin = f"done, stop = threading.Barrier(8), threading.Event(); {threads}; done.wait()"
    with workers(setup=SETUP) as started, Run(RUNQUEUE, selection=Selection(pid=started[0].pid)) as run:
        before = Waited.of(started[0].pid)
        together(started, begin)
        wait_until_blocked(started[0])
        run.stop()
        told = Waited.of(started[0].pid) - before
        batch = run.read()

    assert 7 * 13 < assert_as_told(told, batch, started[0].pid).count


def test_what_began_before_is_untimed_and_what_has_not_ended_is_in_flight() -> None:
    """Of two that want one CPU all the time one at least is waiting, at the start as at the end."""
    with workers(2, setup=SETUP) as started:
        for worker in started:
            assert worker.stdin is not None
            worker.stdin.write("work(1, cpu_seconds=600)\n")
            worker.stdin.flush()
        while any(is_blocked(worker.pid) for worker in started):
            time.sleep(0.005)
        with Run(RUNQUEUE) as run:
            enough = [Waited.of(worker.pid).count + 20 for worker in started]
            while any(
                Waited.of(worker.pid).count < count for worker, count in zip(started, enough, strict=True)
            ):
                time.sleep(0.005)
            run.stop()
            batch = run.read()

    rows = [row for row in batch.rows() if row["pid"] in {worker.pid for worker in started}]
    assert 1 <= sum(row["untimed"] for row in rows) < sum(row["count"] for row in rows) / 2
    assert 1 <= batch.accounting.in_flight
    assert batch.accounting.balanced, str(batch.accounting)


def test_the_idle_task_waits_for_nothing() -> None:
    """Number 0 gets a CPU when nobody else wants it."""
    with workers() as (worker,), Run(RUNQUEUE) as run:
        together([worker], "[time.sleep(0.01) for _ in range(23)]")
        run.stop()
        batch = run.read()

    assert 0 not in batch["pid"].tolist()
    assert os.getpid() not in batch["pid"].tolist()
    assert 0 < waited(batch, worker.pid).count


def test_what_finds_the_table_full_is_in_other() -> None:
    """With room for two rows the rest is in one, whose CPU is none; nothing is lost."""
    with workers(5, setup=SETUP) as started, Run(RUNQUEUE, max_entries=2) as run:
        together(started, "work(11, cpu_seconds=0.05)")
        run.stop()
        batch = run.read()

    (other,) = (row for row in batch.rows() if row["is_other"])
    assert (None, "other", None) == (other["pid"], other["comm"], other["cpu"])
    assert 3 * 11 <= other["count"]
    assert 3 == len(batch)
    assert batch.accounting.balanced, str(batch.accounting)


def test_by_process_and_by_name() -> None:
    """The selected process is that which waits, whoever runs when its wait ends."""
    with workers(2, setup=SETUP) as (one, other), ExitStack() as stack:
        assert "done" == ask(one, "open('/proc/self/comm', 'w').write('sonde-waits')")
        selections = (Selection(pid=one.pid), Selection(comm="sonde-waits"))
        runs = [stack.enter_context(Run(RUNQUEUE, selection=each)) for each in selections]
        together([one, other], "work(17, cpu_seconds=0.1)")
        for run in runs:
            run.stop()
        batches = [run.read() for run in runs]

    for batch in batches:
        assert {one.pid} == set(batch["pid"].tolist())
        assert 17 <= waited(batch, one.pid).count
        assert untimed(batch, one.pid) <= UNSHOWN_SHARE * waited(batch, one.pid).count
        assert 17 <= batch.accounting.filtered
        assert batch.accounting.balanced, str(batch.accounting)


def test_by_cgroup_and_all_below_it() -> None:
    """A process two levels below counts; another one on the same CPU does not."""
    with cgroup() as above, workers(2, setup=SETUP) as (inside, outside):
        below = above / "one" / "two"
        below.mkdir(parents=True)
        try:
            (below / "cgroup.procs").write_text(str(inside.pid))
            with Run(RUNQUEUE, selection=Selection(cgroup=str(above))) as run:
                together([inside, outside], "work(19, cpu_seconds=0.1)")
                run.stop()
                batch = run.read()
            (above.parent / "cgroup.procs").write_text(str(inside.pid))
        finally:
            below.rmdir()
            below.parent.rmdir()

    assert {inside.pid} == set(batch["pid"].tolist())
    assert 19 <= waited(batch, inside.pid).count
    assert untimed(batch, inside.pid) <= UNSHOWN_SHARE * waited(batch, inside.pid).count
    assert batch.accounting.balanced, str(batch.accounting)


def test_children_are_followed() -> None:
    """Three processes that the selected one starts have rows of their own, from their first wait on."""
    code = "[subprocess.run(['true'], check=True) for _ in range(3)]"
    with (
        workers(2, setup=SETUP) as (one, other),
        Run(RUNQUEUE, selection=Selection(pid=one.pid, children=True)) as run,
    ):
        together([one, other], code)
        run.stop()
        batch = run.read()

    assert 4 == len(set(batch["pid"].tolist()))
    assert other.pid not in batch["pid"].tolist()
    assert untimed(batch, one.pid) <= UNSHOWN_SHARE * waited(batch, one.pid).count
    assert batch.accounting.balanced, str(batch.accounting)


def test_one_in_eight_stands_for_all() -> None:
    """What is left out while it runs is counted by the next one that is not; sampled waits are left out for good."""
    with (
        workers(3, setup=SETUP) as started,
        Run(RUNQUEUE) as thinned,
        Run(RUNQUEUE, values={"sample": 8}) as sampled,
    ):
        thinned.set_variable("thin_every", 8)
        together(started, "work(211, cpu_seconds=0.1)")
        for run in (thinned, sampled):
            run.stop()
        thin, sample = thinned.read(), sampled.read()

    assert 0 < thin.accounting.notes["represented"]
    assert thin.accounting.balanced, str(thin.accounting)
    assert sample.accounting.balanced, str(sample.accounting)
    assert 8 == sample.scale
    total = sample.accounting.sampled_out + sample.accounting.aggregated
    assert total / 8 / 2 < sample.accounting.aggregated < total / 8 * 2


def test_metrics_are_of_what_was_counted() -> None:
    """Buckets and untimed waits, which are known in every row, are all that was aggregated."""
    with workers(2, setup=SETUP) as started, Run(RUNQUEUE, differences=True) as run:
        together(started, "work(11, cpu_seconds=0.05)")
        run.stop()
        batch = run.read()

    (table,) = RUNQUEUE.tables
    counted = [batch[metric.value] for metric in table.metrics]
    assert not any(np.ma.is_masked(values) for values in counted)
    assert batch.accounting.aggregated == sum(int(values.sum()) for values in counted)
    assert batch.accounting.balanced, str(batch.accounting)
