"""What perf tells beside samples: code that is mapped, and processes that begin, run another program, and end."""

from __future__ import annotations

import gc
import mmap
import os
import select
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from kernel.compiled import program_of
from sonde._libbpf import lib
from sonde.bpf.link.perf_event import online_cpus
from sonde.bpf.side_band import EXEC, EXIT, FOLLOWS_EVERY_S, FORK, MAP, SideBand, SideBandRecords
from sonde.errors import SondeError

OVERLAYFS = 0x794C7630
PROGRAM = program_of("symbols/named_work.c")


@pytest.fixture
def band() -> Iterator[SideBand]:
    with SideBand() as opened:
        yield opened


def of(records: SideBandRecords, pid: int) -> list[tuple[int, str]]:
    """What happened to a process: kinds, and paths of what was mapped."""
    return [
        (int(each["kind"]), records.files[each["file"]].path if each["kind"] == MAP else "")
        for each in records.events[records.events["pid"] == pid]
    ]


def test_a_process_is_told_from_fork_to_exit(band: SideBand) -> None:
    child = subprocess.Popen([PROGRAM, "1"])
    child.wait()
    records = band.drain()
    told = of(records, child.pid)
    assert told[0] == (FORK, "")
    assert told[-1] == (EXIT, "")
    begun = told.index((EXEC, ""))
    assert (MAP, str(PROGRAM)) in told[begun:]
    assert (MAP, "[vdso]") in told[begun:]
    fork = records.events[(records.events["pid"] == child.pid) & (records.events["kind"] == FORK)]
    assert fork["parent"].tolist() == [os.getpid()]


def test_records_are_in_the_order_of_the_clock_that_programs_read(band: SideBand) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
    children = [subprocess.Popen([PROGRAM, "0"]) for _ in range(11)]
    for child in children:
        child.wait()
    events = band.drain().events
    assert events["time_ns"].tolist() == sorted(events["time_ns"].tolist())
    times = events["time_ns"][np.isin(events["pid"], [child.pid for child in children])].tolist()
    assert before < times[0] <= times[-1] < time.clock_gettime_ns(time.CLOCK_MONOTONIC)


def test_a_mapped_file_is_the_one_that_stat_tells(band: SideBand) -> None:
    subprocess.run([PROGRAM, "0"], check=True)
    found = next(each for each in band.drain().files if each.path == str(PROGRAM))
    told = os.stat(PROGRAM)
    assert found.inode == told.st_ino
    # Of a file in an overlay older kernels tell the device of the layer.
    with open(PROGRAM, "rb") as file:
        is_overlay = lib.sonde_filesystem_type(file.fileno()) == OVERLAYFS
    assert found.device == told.st_dev or is_overlay


def test_only_code_is_told(band: SideBand) -> None:
    own = os.getpid()
    with mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE):
        assert of(band.drain(), own) == []
    with mmap.mmap(
        -1, 4096, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=mmap.PROT_READ | mmap.PROT_EXEC
    ):
        assert of(band.drain(), own) == [(MAP, "")]


def test_threads_are_no_processes(band: SideBand) -> None:
    import threading

    threads = [threading.Thread(target=lambda: None) for _ in range(5)]
    for each in threads:
        each.start()
        each.join()
    kinds = {kind for kind, _ in of(band.drain(), os.getpid())}
    assert not kinds & {FORK, EXIT}


def test_a_reader_is_woken_when_a_program_begins(band: SideBand) -> None:
    subprocess.run([PROGRAM, "0"], check=True)
    assert select.select([band], [], [], 60)[0] == [band]
    band.drain()


def test_what_finds_a_ring_full_is_counted() -> None:
    with SideBand(pages_per_cpu=1) as band:
        for _ in range(97):
            subprocess.run([PROGRAM, "0"], check=True)
        band.drain()
        lost = band.lost
        band.drain()
        # The kernel tells of a loss when there is room again.
        subprocess.run([PROGRAM, "0"], check=True)
        band.drain()
        assert max(lost, band.lost) > 0


def test_records_across_the_end_of_a_ring_are_whole() -> None:
    """In a small ring, which is gone around several times, each program's paths and kinds are the same.

    On one CPU, whose ring tells of what others' programs made it lose with the next record.
    """
    told, lost = [], []
    with SideBand(pages_per_cpu=4) as band, on_one_cpu():
        while len(whole := whole_rounds(lost)) < 197:
            assert len(told) < 4000, f"{lost[-1]} lost"
            child = subprocess.Popen([PROGRAM, "0"])
            child.wait()
            told.append(of(band.drain(), child.pid))
            lost.append(band.lost)
    assert all(told[each] == told[whole[0]] for each in whole)
    assert (MAP, str(PROGRAM)) in told[whole[0]]


def whole_rounds(lost: list[int]) -> list[int]:
    """The rounds in which nothing was lost, as the next one tells."""
    return [at for at in range(1, len(lost) - 1) if lost[at - 1] == lost[at + 1]]


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Let this thread, and what it starts, run on one CPU."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def test_it_is_on_every_cpu_and_leaves_nothing_open() -> None:
    gc.collect()
    before = os.listdir("/proc/self/fd")
    with SideBand() as band:
        assert list(band.cpus) == online_cpus()
    assert os.listdir("/proc/self/fd") == before
    band.close()
    with pytest.raises(SondeError, match="closed"):
        band.drain()


@pytest.mark.skipif(
    "SONDE_VM_KERNEL" not in os.environ, reason="takes a CPU offline: only in a virtual machine: make test-vm"
)
@pytest.mark.parametrize("is_drained_meanwhile", [True, False])
def test_a_cpu_that_comes_back_tells_again(band: SideBand, *, is_drained_meanwhile: bool) -> None:
    """At the next look, for its event has ended with it: whether anybody looked while it was away or not."""
    second = Path("/sys/devices/system/cpu/cpu1/online")
    second.write_text("0")
    try:
        time.sleep(FOLLOWS_EVERY_S)
        if is_drained_meanwhile:
            band.drain()
            assert 1 not in band.cpus
    finally:
        second.write_text("1")
    time.sleep(FOLLOWS_EVERY_S)
    band.drain()
    child = subprocess.Popen(["taskset", "-c", "1", PROGRAM, "1"])
    child.wait()
    assert (MAP, str(PROGRAM)) in of(band.drain(), child.pid)
