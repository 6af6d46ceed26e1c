"""The probe ``cpu`` on the real kernel: samples tell the CPU time, and every tick of every CPU's clock is accounted for."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from sonde.bpf.link.perf_event import online_cpus
from sonde.errors import KnobError, NotSupportedError
from sonde.probe import Selection
from sonde.probes import probe
from sonde.records.model import RecordBatch
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

CPU = probe("cpu")
FREQUENCY = 997
WORKLOAD = [sys.executable, "-m", "sonde.probes.cpu.workload", "--wait"]


@dataclass(slots=True)
class Busy:
    """A workload that waits for ``finish``, which gives the CPU time that each of its threads used."""

    process: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def finish(self) -> dict[str, float]:
        out, _ = self.process.communicate("\n", timeout=300)
        used: dict[str, float] = json.loads(out.splitlines()[-1])
        return used


@contextmanager
def busy(*arguments: str, words: list[str] = WORKLOAD) -> Iterator[Busy]:
    """Start a workload, which is killed at the end if it still runs."""
    process = subprocess.Popen([*words, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield Busy(process)
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=60)


def final(run: Run) -> RecordBatch:
    """Stop a run, and give its last batch, which has to be balanced."""
    run.stop()
    batch = run.read()
    assert batch.accounting.balanced, str(batch.accounting)
    assert batch.accounting.final
    return batch


def sampled(batch: RecordBatch) -> dict[str | None, int]:
    """Add up the samples by thread name."""
    counts: dict[str | None, int] = {}
    for row in batch.rows(("comm", "count")):
        counts[row["comm"]] = counts.get(row["comm"], 0) + row["count"]
    return counts


def assert_tells(seconds: float, count: int, *, skipped: int) -> None:
    """Compare samples with CPU time: what was skipped may have been anybody's, and chance has its share."""
    expected = seconds * FREQUENCY
    room = 4 * math.sqrt(expected) + 1
    assert expected - skipped - room <= count <= expected + room


def test_samples_tell_the_cpu_time_of_each_thread() -> None:
    """A busy loop has as many samples as ticks of the clock go into the time that it used, under its thread's name."""
    with (
        busy("--seconds", "2", "--threads", "2") as started,
        Run(CPU, selection=Selection(pid=started.pid), values={"frequency": FREQUENCY}) as run,
    ):
        used = started.finish()
        batch = final(run)

    counts = sampled(batch)
    for name, seconds in used.items():
        assert_tells(seconds, counts[name], skipped=batch.accounting.lost["skipped"])
    assert {row["pid"] for row in batch.rows(("pid",))} == {started.pid}


def test_every_tick_is_accounted_for() -> None:
    """What is seen is, on each CPU, the time that passed by the clock's period: samples, idle ticks, skipped ones."""
    before = time.monotonic()
    with Run(CPU, values={"frequency": FREQUENCY}) as run:
        begun = time.monotonic()
        time.sleep(1)
        so_far = run.read().accounting
        time.sleep(1)
        inner_s = time.monotonic() - begun
        batch = final(run)
        outer_s = time.monotonic() - before

    cpus = len(online_cpus())
    assert cpus * (math.floor(inner_s * FREQUENCY) - 2) <= batch.accounting.seen
    assert batch.accounting.seen <= cpus * (math.ceil(outer_s * FREQUENCY) + 2)
    assert so_far.seen <= batch.accounting.seen
    assert so_far.lost["skipped"] <= batch.accounting.lost["skipped"]
    assert batch.accounting.notes["idle"] <= batch.accounting.filtered


def test_only_what_is_selected_is_sampled() -> None:
    """By pid, with children, by name, by cgroup: all other ticks are filtered, with those of idle CPUs."""
    shell = ["sh", "-c", f"read line; echo | {' '.join(WORKLOAD)} --seconds 0.3; true"]
    with busy("--seconds", "0.3") as other, busy(words=shell) as parent:
        selection = Selection(pid=parent.pid, children=True)
        with Run(CPU, selection=selection, values={"frequency": FREQUENCY}) as run:
            parent.finish()
            other.finish()
            batch = final(run)

    pids = {row["pid"] for row in batch.rows(("pid",))}
    assert other.pid not in pids
    assert pids - {parent.pid}
    assert sampled(batch)["busy-0"] > 0

    with (
        busy("--seconds", "0.3") as started,
        Run(CPU, selection=Selection(comm="no such name"), values={"frequency": FREQUENCY}) as run,
    ):
        started.finish()
        batch = final(run)
    assert batch.accounting.aggregated == 0
    assert batch.accounting.seen == batch.accounting.filtered + batch.accounting.lost["skipped"]


def test_what_finds_the_table_full_is_in_other() -> None:
    """With room for two rows the rest is one row, and nothing is lost."""
    with (
        busy("--seconds", "0.5", "--threads", "3") as started,
        Run(CPU, selection=Selection(pid=started.pid), values={"frequency": FREQUENCY}, max_entries=2) as run,
    ):
        started.finish()
        batch = final(run)
        raw = run.source.read()

    (other,) = [row for row in batch.rows() if row["is_other"]]
    assert other["comm"] == "other"
    assert other["pid"] is None
    assert other["count"] > 0
    assert len(raw) == 3


def test_stacks_are_where_the_process_is() -> None:
    """The innermost address of a stack of user space lies in code of the process, one of the kernel's in the kernel."""
    with busy("--seconds", "0.5") as started:
        assert started.process.stdout is not None
        assert started.process.stdout.readline() == "ready\n"
        code = executable(started.pid)
        with Run(CPU, selection=Selection(pid=started.pid), values={"frequency": FREQUENCY}) as run:
            started.finish()
            final(run)
            rows = list(run.source.read().rows(("comm", "user_stack", "kernel_stack")))
            stacks = run.stacks

    assert stacks is not None
    # At its very end, when its memory is gone, a process has none; its threads' ends are before that.
    spinning = [row for row in rows if bytes(row["comm"]).rstrip(b"\0") == b"busy-0"]
    user = [row["user_stack"] for row in spinning if row["user_stack"]]
    inside = [any(low <= int(stacks[number][0]) < high for low, high in code) for number in user]
    assert len(user) > 0.9 * len(spinning)
    assert inside.count(True) > 0.9 * len(user)
    kernel = [row["kernel_stack"] for row in rows if row["kernel_stack"]]
    assert all(int(address) >> 63 for number in kernel for address in stacks[number])


def executable(pid: int) -> list[tuple[int, int]]:
    """List where a process has code."""
    ranges = []
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        span, rights, *_ = line.split()
        if "x" in rights:
            low, _, high = span.partition("-")
            ranges.append((int(low, 16), int(high, 16)))
    return ranges


def test_stacks_of_the_same_names_are_one_row() -> None:
    """Where in a function an instruction was tells nobody anything: each process, thread name and stack comes once."""
    with (
        busy("--seconds", "0.5") as started,
        Run(CPU, selection=Selection(pid=started.pid), values={"frequency": FREQUENCY}) as run,
    ):
        started.finish()
        batch = final(run)
        raw = run.source.read()

    names = [tuple(row.values()) for row in batch.rows(("pid", "comm", "stack", "frame_sources"))]
    assert len(set(names)) == len(names)
    assert int(batch["count"].sum()) == int(raw["count"].sum())
    assert len(batch) < len(raw)


@pytest.mark.parametrize(("knob", "column"), [("no_user", "user_stack"), ("no_kernel", "kernel_stack")])
def test_a_side_can_be_left_out(knob: str, column: str) -> None:
    """Then no row has a stack of it."""
    with (
        busy("--seconds", "0.2") as started,
        Run(CPU, selection=Selection(pid=started.pid), values={knob: True, "frequency": FREQUENCY}) as run,
    ):
        started.finish()
        final(run)
        rows = list(run.source.read().rows((column,)))

    assert {row[column] for row in rows} == {0}


def test_kernel_threads_have_no_user_stack() -> None:
    """They are named by pid and name, and their stack of user space is none, not one that could not be read."""
    threads: list[dict[str, Any]] = []
    # They run for moments only, and a tick has to fall into one; each time others have not filled the table yet.
    while not threads:
        with Run(CPU, values={"frequency": FREQUENCY}) as run:
            until = time.monotonic() + 1
            while time.monotonic() < until:
                os.sync()
            rows = run.source.read().rows()
            threads = [row for row in rows if not row["is_other"] and is_kernel_thread(row["pid"])]
            final(run)

    assert all(row["user_stack"] == 0 for row in threads)


def is_kernel_thread(pid: int) -> bool:
    """Ask the kernel for the task's flags (PF_KTHREAD)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return bool(int(text.rpartition(")")[2].split()[6]) & 0x00200000)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"frequency": 0}, r"0 is none: give 1 to 999"),
        ({"frequency": 1000}, r"1000 is none: give 1 to 999"),
        ({"event": "page-faults"}, r"there is no event 'page-faults': valid: cpu-clock or cycles"),
    ],
)
def test_a_clock_that_is_none_is_refused(values: dict[str, Any], why: str) -> None:
    """With what there is instead."""
    with pytest.raises(KnobError, match=why):
        Run(CPU, values=values).start()


def test_cycles_are_a_clock_where_the_machine_counts_them() -> None:
    """Where it does not, that is said, and what to do."""
    if Path("/sys/bus/event_source/devices/cpu").exists():
        with busy("--seconds", "0.5") as started, Run(CPU, values={"event": "cycles"}) as run:
            started.finish()
            assert final(run).accounting.aggregated > 0
    else:
        with pytest.raises(NotSupportedError, match=r"does not count it.*or the event cpu-clock"):
            Run(CPU, values={"event": "cycles"}).start()
