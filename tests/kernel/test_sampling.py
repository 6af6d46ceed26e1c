"""Clocks of a profile: what the kernel skips is counted, and a CPU that comes back is sampled again."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.compiled import object_of
from sonde.bpf.link.perf_event import online_cpus
from sonde.bpf.object import ObjectSpec
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run

FREQUENCY = 997
CPU = probe("cpu")
STORM_S = 1
STORM = f"import os, time\nwhile time.thread_time() < {STORM_S}:\n    for _ in range(100): os.getppid()\n"
SPIN = "import os, time\nos.sched_setaffinity(0, {1})\nwhile time.thread_time() < 0.7: pass\n"
SECOND = Path("/sys/devices/system/cpu/cpu1/online")

only_in_a_guest = pytest.mark.skipif(
    "SONDE_VM_KERNEL" not in os.environ, reason="takes a CPU offline: only in a virtual machine: make test-vm"
)


def python(code: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", code])


def test_ticks_that_the_kernel_skips_are_lost_and_counted() -> None:
    """Beside a classic tracepoint's program, under a storm of system calls, a profile misses most ticks, and says so.

    Of the storms' own time, that is: others may run beside them.
    """
    with ObjectSpec.open(object_of("probes/slow_syscalls.bpf.c")) as spec:
        loaded = spec.load()
    before = time.monotonic()
    with loaded, Run(CPU, values={"frequency": FREQUENCY}) as run:
        loaded.programs["each_call"].attach()
        begun = time.monotonic()
        storms = [python(STORM) for _ in online_cpus()]
        for storm in storms:
            assert storm.wait(timeout=120) == 0
        inner_s = time.monotonic() - begun
        run.stop()
        outer_s = time.monotonic() - before
        accounting = run.read().accounting

    cpus = len(online_cpus())
    assert accounting.balanced, str(accounting)
    assert accounting.lost["skipped"] > cpus * STORM_S * FREQUENCY / 4
    assert cpus * (math.floor(inner_s * FREQUENCY) - 2) <= accounting.seen
    assert accounting.seen <= cpus * (math.ceil(outer_s * FREQUENCY) + 2)


def test_clocks_that_tick_stay_while_they_are_read() -> None:
    """A read between any two ticks opens no other event: each new one would begin its period again, and tick late."""
    with Run(CPU, values={"frequency": FREQUENCY}) as run:
        begun = time.monotonic()
        clocks = next(link for link in run.loaded.links if link.program.name == "cpu_tick")
        before = clocks.descriptors
        while time.monotonic() - begun < 0.5:
            run.read()
            assert clocks.descriptors == before
        inner_s = time.monotonic() - begun
        run.stop()
        accounting = run.read().accounting

    assert accounting.balanced, str(accounting)
    assert accounting.seen >= len(online_cpus()) * (math.floor(inner_s * FREQUENCY) - 2)


@contextmanager
def offline() -> Iterator[None]:
    """Take the second CPU offline, and bring it back."""
    SECOND.write_text("0")
    try:
        yield
    finally:
        SECOND.write_text("1")


def samples_of(run: Run, pid: int) -> int:
    return sum(row["count"] for row in run.read().rows(("pid", "count")) if row["pid"] == pid)


@only_in_a_guest
@pytest.mark.parametrize("is_read_meanwhile", [True, False])
def test_a_cpu_that_comes_back_is_sampled_again(*, is_read_meanwhile: bool) -> None:
    """From the next read on, whether the read before was while it was offline or not; its time offline makes no ticks."""
    with Run(CPU, selection=Selection(), values={"frequency": 99}) as run:
        run.read()
        begun = time.monotonic()
        with offline():
            if is_read_meanwhile:
                run.read()
            time.sleep(2)
        run.read()
        spinning = python(SPIN)
        assert spinning.wait(timeout=120) == 0
        counted = samples_of(run, spinning.pid)
        passed_s = time.monotonic() - begun
        run.stop()
        accounting = run.read().accounting

    assert counted + accounting.lost["skipped"] >= 0.7 * 99 / 2
    assert counted > 0
    assert accounting.balanced, str(accounting)
    # Two seconds of one of the CPUs are not among what there should have been.
    assert accounting.seen < (passed_s + 1) * 99 * len(online_cpus()) - 99


@only_in_a_guest
def test_a_cpu_that_was_offline_at_the_start_is_sampled_when_it_comes() -> None:
    """It gets an event at the next read."""
    run = Run(CPU, values={"frequency": 99})
    try:
        with offline():
            run.start()
        run.read()
        spinning = python(SPIN)
        assert spinning.wait(timeout=120) == 0
        assert samples_of(run, spinning.pid) > 0
    finally:
        run.close()
