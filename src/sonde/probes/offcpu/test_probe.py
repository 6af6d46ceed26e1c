"""The probe ``offcpu`` on the real kernel: each block counts once, for as long as the thread itself measures, and under its reason."""

from __future__ import annotations

import json
import os
import re
import select
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from kernel.block_runs import OFFCPU, Measured, compared, total
from kernel.places import ask
from kernel.workers import UNTIL_WAITED, contended, together, wait_until_blocked, workers
from sonde.bpf.features import have
from sonde.errors import KernelError
from sonde.probe import Selection
from sonde.probes.offcpu.workload import BLOCK_S, BLOCKS
from sonde.records.frames import Frame, frames_of
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]
REASONS = {"sleep": "sleep", "futex": "futex", "pipe": "pipe", "lock": "lock", "disk": "I/O"}
BEFORE_US = "[no stack: blocked before the start]"
INTERRUPTS_SHARE = 0.5
"""Where the processor is emulated much of a read goes by in interrupts: neither the thread's CPU time, nor off its CPU."""


@pytest.mark.parametrize("kind", REASONS)
def test_it_is_as_long_as_the_thread_itself_measures_under_the_right_reason(kind: str) -> None:
    """Sleep, a mutex, a pipe, a lock of a file, a disk: to 2 %, and each block that there was once."""
    rows, told = compared(kind)

    reason = REASONS[kind]
    of_it = [row for row in rows if row["reason"] == reason]
    if kind == "lock":
        # The kernel has others, in file systems say, which making the files may have to wait for.
        of_it = [row for row in of_it if "flock" in row["stack"]]
    found = total(of_it)
    # On a busy machine others took its CPU, too, some of it within the calls.
    preempted = total(rows, reason="run queue")
    share = 0.02 if kind != "disk" or "SONDE_VM_KERNEL" not in os.environ else INTERRUPTS_SHARE
    # What the program itself has to read for the first time it does not measure.
    more_ns = (0.02 if share == 0.02 else 0.1) * told.off_cpu_ns
    # The interpreter has a lock of its own, which a thread sometimes waits for, too, within the calls and between them.
    if kind == "futex":
        others = total(of_it, "count") - BLOCKS
        assert others >= 0
        more_ns += others * max(row["max_ns"] for row in of_it)
    elif kind != "disk":
        assert BLOCKS == total(of_it, "count")
        preempted += total(rows, reason="futex")
    assert -more_ns < told.off_cpu_ns - found < share * told.off_cpu_ns + preempted
    if kind != "disk":
        assert BLOCKS == told.blocks
        assert 0 < min(row["min_ns"] for row in of_it) <= found / BLOCKS
        assert BLOCK_S * 1e9 * 0.9 < max(row["max_ns"] for row in of_it) <= found
        for row in of_it:
            # Both sides of the stack, and at its end neither our own way there nor the scheduler's.
            frames = frames_of(row)
            assert any(frame.kind in "nu" for frame in frames)
            assert "k" == frames[-1].kind
            assert not re.search("bpf|schedule$", frames[-1].name)


@pytest.mark.parametrize("variant", [each.name for each in OFFCPU.variants])
def test_every_variant_measures_the_same(variant: str) -> None:
    """Typed tracepoints and raw ones, task storage and a hash."""
    try:
        rows, told = compared("sleep", variant=variant)
    except KernelError as error:
        # Task storage is for LSM programs before Linux 5.12: then the next variant is the one that is used.
        if variant != OFFCPU.variants[0].name or have("task_storage_in_tracing"):
            raise
        pytest.skip(f"no task storage in tracing programs: {error}")

    found = total(rows, reason="sleep")
    preempted = total(rows, reason="run queue")
    assert -0.02 * told.off_cpu_ns < told.off_cpu_ns - found < 0.02 * told.off_cpu_ns + preempted
    assert BLOCKS == total(rows, "count", reason="sleep")


def switches(pid: int) -> tuple[int, int]:
    """Count how often the threads of a process have left their CPUs: because they could not go on, and because others came."""
    found = [0, 0]
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        for at, name in enumerate(("voluntary", "nonvoluntary")):
            told = re.search(rf"^{name}_ctxt_switches:\s+(\d+)", path.read_text(), re.MULTILINE)
            assert told is not None
            found[at] += int(told[1])
    return found[0], found[1]


HANDING_OVER = """
def hand_over(pairs, times):
    done = threading.Barrier(2 * pairs + 1)
    def begin(act):
        def run():
            for _ in range(times):
                act()
            done.wait()
            stop.wait()
        threading.Thread(target=run, daemon=True).start()
    for _ in range(pairs):
        there, back = os.pipe(), os.pipe()
        begin(lambda there=there, back=back: (os.read(there[0], 1), os.write(back[1], b".")))
        begin(lambda there=there, back=back: (os.write(there[1], b"."), os.read(back[0], 1)))
    done.wait()
stop = threading.Event()
"""


def test_each_block_counts_once_over_several_reads() -> None:
    """As many blocks as the kernel counts switches of eight threads, whatever is read meanwhile."""
    with (
        workers(setup=HANDING_OVER) as (worker,),
        Measured(selection=Selection(pid=worker.pid)) as measured,
    ):
        before, stdout = switches(worker.pid), worker.stdout
        assert worker.stdin is not None
        assert stdout is not None
        worker.stdin.write("hand_over(4, 211)\n")
        worker.stdin.flush()
        reads = [len(measured.run.read())]
        while not select.select([stdout], [], [], 0)[0]:
            reads.append(len(measured.run.read()))
        wait_until_blocked(worker)
        after = switches(worker.pid)
        rows = measured.rows()

    voluntary, nonvoluntary = after[0] - before[0], after[1] - before[1]
    preempted = total(rows, "count", reason="run queue")
    found = total(rows, "count") - preempted
    # Those that are blocked now have left their CPUs, too: they are unfinished.
    assert 9 == total(rows, "unfinished")
    lost = measured.accounting.lost_total
    # The block in which the process was when the run began is one more.
    assert -lost <= voluntary + nonvoluntary + 1 - found - preempted <= lost + (1 if lost else 0)
    assert found >= 4 * 211


def test_who_is_blocked_all_the_time_counts_to_the_end_of_the_run() -> None:
    """One block, unfinished, from the beginning to the end; its kernel stack is known, and why there is none of user space."""
    with workers() as (worker,):
        before = time.monotonic_ns()
        with Measured(selection=Selection(pid=worker.pid)) as measured:
            begun = time.monotonic_ns()
            for _ in range(3):
                time.sleep(0.2)
                measured.run.read()
            spent = time.monotonic_ns() - begun
            (row,) = measured.rows()
            most = time.monotonic_ns() - before
            again = measured.run.read()

    first, *others = frames_of(row)
    assert Frame(BEFORE_US, "m") == first
    assert {"k"} == {frame.kind for frame in others}

    assert (1, 1, "pipe", None, None) == tuple(
        row[each] for each in ("count", "unfinished", "reason", "min_ns", "max_ns")
    )
    assert spent <= row["total_ns"] <= most
    assert [row["total_ns"]] == again["total_ns"].tolist()
    assert 0 == measured.accounting.in_flight


def test_who_was_blocked_before_is_so_from_the_beginning_of_the_run() -> None:
    """A block that began before and ends meanwhile: its time in the run, and it is over."""
    with workers() as (worker,):
        before = time.monotonic_ns()
        with Measured(selection=Selection(pid=worker.pid)) as measured:
            begun = time.monotonic_ns()
            time.sleep(0.3)
            spent = time.monotonic_ns() - begun
            together([worker], "pass")
            most = time.monotonic_ns() - before
            rows = measured.rows()

    if measured.is_whole:
        (first,) = (row for row in rows if row["stack"].startswith(BEFORE_US))
        assert (1, 0, "pipe") == (first["count"], first["unfinished"], first["reason"])
        assert spent <= first["max_ns"] <= most


def test_who_has_ended_is_not_blocked() -> None:
    """Nobody has asked yet what became of it, so that the kernel still has it."""
    with subprocess.Popen(["true"]) as ended:
        os.waitid(os.P_PID, ended.pid, os.WEXITED | os.WNOWAIT)
        with Measured(selection=Selection(pid=ended.pid)) as measured:
            time.sleep(BLOCK_S)
            assert [] == measured.rows()


def test_who_is_preempted_waits_in_the_run_queue() -> None:
    """Two that want one CPU: where they were preempted, and all of it is time on a runqueue."""
    code = f"exec({UNTIL_WAITED.format(seconds=0.3)!r})"
    with workers() as (worker,), contended(), Measured(selection=Selection(pid=worker.pid)) as measured:
        together([worker], code)
        rows = measured.rows()

    preempted = [row for row in rows if row["reason"] == "run queue"]
    assert 0 < len(preempted)
    assert all(row["total_ns"] == row["runqueue_ns"] for row in preempted)
    assert all("runnable" == row["state"] for row in preempted)
    assert 100_000_000 < total(preempted)


def test_who_starts_a_program_waits_for_a_child(tmp_path: Path) -> None:
    """posix_spawn, as vfork, goes on when the child has run its program: this one first has to open a pipe that nobody writes to."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    actions = f"[(os.POSIX_SPAWN_OPEN, 0, {str(fifo)!r}, os.O_RDONLY, 0)]"
    with workers() as (worker,), Measured(selection=Selection(pid=worker.pid)) as measured:
        assert worker.stdin is not None
        worker.stdin.write(f"os.posix_spawn('/bin/true', ['true'], {{}}, file_actions={actions})\n")
        worker.stdin.flush()
        while not Path(f"/proc/{worker.pid}/stat").read_text().rpartition(") ")[2].startswith("D"):
            time.sleep(0.001)
        time.sleep(BLOCK_S)
        os.close(os.open(fifo, os.O_WRONLY))
        assert worker.stdout is not None
        assert "done\n" == worker.stdout.readline()
        rows = measured.rows()

    if measured.is_whole:
        assert BLOCK_S * 1e9 < total(rows, reason="child")
    assert 0 == total(rows, reason="other")


def test_the_wait_for_a_cpu_after_a_block_is_told_of_it() -> None:
    """Who sleeps beside one that spins is woken in time, and gets its CPU later: a part of the block is time on a runqueue."""
    spin = "begun = time.thread_time()\nwhile time.thread_time() < begun + 0.5: pass"
    with workers(2) as (one, other), Measured(selection=Selection(pid=one.pid)) as measured:
        assert other.stdin is not None
        other.stdin.write(f"os.nice(-10); exec({spin!r})\n")
        other.stdin.flush()
        together([one], "[time.sleep(0.01) for _ in range(20)]")
        rows = [row for row in measured.rows() if row["reason"] == "sleep"]

    assert 0 < total(rows, "runqueue_ns") < total(rows)


def test_who_wakes_is_told_on_request() -> None:
    """A byte in the pipe comes from this process; without being asked nobody is told."""
    with workers() as (worker,), ExitStack() as stack:
        selection = Selection(pid=worker.pid)
        asked = stack.enter_context(Measured(selection=selection, values={"waker": True}))
        not_asked = stack.enter_context(Measured(selection=selection))
        for _ in range(7):
            assert "done" == ask(worker, "pass")
            wait_until_blocked(worker)
        rows, others = asked.rows(), not_asked.rows()

    of_us = [row for row in rows if row["waker_pid"] == os.getpid()]
    comm = Path("/proc/self/comm").read_text().strip()
    assert {("pipe", comm)} == {(row["reason"], row["waker_comm"]) for row in of_us}
    assert 7 - asked.accounting.lost_total <= total(of_us, "count") <= 7
    assert all(row["waker_kernel_stack"] > 16 for row in of_us)
    assert {None} == {row["waker_pid"] for row in others} == {row["waker_comm"] for row in others}


def test_what_finds_the_table_full_is_in_other() -> None:
    """With room for two rows the rest is in one; stacks without room have a number that says so, and are counted."""
    code = "[threading.Thread(target=time.sleep, args=(0.01,)).start() for _ in range(5)]; time.sleep(0.1)"
    with (
        workers() as (worker,),
        Measured(selection=Selection(pid=worker.pid), max_entries=2) as measured,
    ):
        together([worker], code)
        rows = measured.rows()

    (other,) = (row for row in rows if row["is_other"])
    assert (None, "other", None) == (other["pid"], other["comm"], other["reason"])
    assert 1 <= other["count"]
    assert 3 == len(rows)


def test_without_stacks() -> None:
    """Of neither kind, by two knobs: rows by thread and state."""
    with (
        workers() as (worker,),
        Measured(
            selection=Selection(pid=worker.pid), values={"no_user": True, "no_kernel": True}
        ) as measured,
    ):
        together([worker], "[time.sleep(0.002) for _ in range(13)]")
        rows = measured.rows()

    assert {""} == {row["stack"] for row in rows}
    assert 13 <= total(rows, "count") + measured.accounting.lost_total


def test_metrics_have_a_reason_without_names() -> None:
    """Where no frames are named the scheduler's state tells run queue, I/O and other; all that was aggregated is in one."""
    with workers() as (worker,), Run(OFFCPU, differences=True) as run:
        together([worker], "[time.sleep(0.002) for _ in range(13)]")
        run.stop()
        batch = run.read()

    (table,) = OFFCPU.tables
    assert {"run queue", "I/O", "stopped", "other", None} >= set(batch["reason"].tolist())
    for metric in table.metrics:
        assert not np.ma.is_masked(batch[metric.value])
    assert batch.accounting.aggregated == int(batch["count"].sum())
    assert batch.accounting.balanced, str(batch.accounting)


def test_the_workload_tells_what_it_measured() -> None:
    """One line of JSON for each kind."""
    command = [sys.executable, "-m", "sonde.probes.offcpu.workload", "sleep", "pipe"]
    told = [
        json.loads(line)
        for line in subprocess.run(command, check=True, capture_output=True).stdout.splitlines()
    ]
    assert {"sleep", "pipe"} == {each["comm"] for each in told}
    assert all(BLOCKS == each["blocks"] for each in told)
