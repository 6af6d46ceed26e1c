"""Ring and perf buffers in objects that sonde did not build: records of one size and of any, and what is lost."""

from __future__ import annotations

import asyncio
import os
import platform
import select
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernel.shaped import PACKET, loaded, send
from sonde.bpf import Object, ObjectSpec, PerfBuffer, RingBuffer, UserRingBuffer
from sonde.errors import KernelError, LayoutError, SondeError

GETPPID = {"x86_64": 110, "aarch64": 173}[platform.machine()]
Require = Callable[[str], None]


def record_of(made: Object) -> Any:
    assert made.btf is not None
    return made.btf.find("record")


def larger(size_bytes: int) -> Callable[[ObjectSpec], None]:
    def edit(spec: ObjectSpec) -> None:
        spec.maps["ring"].max_entries = size_bytes

    return edit


# ---- ring buffers -------------------------------------------------------------------------------------------


def test_records_of_one_size_are_an_array() -> None:
    with loaded("ring_fixed") as made, RingBuffer(made.maps["ring"], record=record_of(made)) as ring:
        assert len(ring.drain()) == 0
        for length in range(31, 31 + 47):
            send(made.programs["write"], packet=bytes(length))
        records: Any = ring.drain()
        # The program gives one of them up after it has taken the room: it is no record.
        expected = [length for length in range(31, 31 + 47) if length != 61]
        assert records["length"].tolist() == expected
        assert records["half"].tolist() == [length // 2 for length in expected]
        assert records["number"].tolist() == list(range(46))
        assert (made.variables["discarded"].value, made.variables["dropped"].value) == (1, 0)
        assert ring.pending_bytes == 0


def test_a_record_across_the_end_of_the_ring_is_whole() -> None:
    """4 KiB are 170 records of 24 bytes, and two thirds: the next one's length stands at the beginning again."""
    with loaded("ring_fixed") as made, RingBuffer(made.maps["ring"], record=record_of(made)) as ring:
        numbers: list[int] = []
        lengths: list[int] = []
        for _ in range(7):
            for length in range(100, 153):
                send(made.programs["write"], packet=bytes(length))
            records: Any = ring.drain()
            numbers += records["number"].tolist()
            lengths += records["length"].tolist()
        assert numbers == list(range(7 * 53))
        assert lengths == [*range(100, 153)] * 7


PAGE = 4096


@pytest.mark.parametrize("window_bytes", [PAGE, 4 * PAGE])
def test_records_across_the_ends_of_windows_are_whole(window_bytes: int) -> None:
    """64 KiB are 2,730 records of 24 bytes: they stand across the ends of windows, and of the ring."""
    with loaded("ring_fixed", larger(16 * PAGE)) as made:
        before = mapped_bytes()
        with RingBuffer(made.maps["ring"], record=record_of(made), window_bytes=window_bytes) as ring:
            numbers: list[int] = []
            for _ in range(5):
                send(made.programs["write"], repeat=1_999)
                for records_max in (1_500, 1_500):
                    records: Any = ring.drain(records_max)
                    numbers += records["number"].tolist()
            assert numbers == list(range(5 * 1_999))
            assert mapped_bytes() - before == 2 * PAGE + window_bytes
        assert mapped_bytes() == before


def test_records_of_any_size_across_the_ends_of_windows() -> None:
    with (
        loaded("ring_variable", larger(4 * PAGE)) as made,
        RingBuffer(made.maps["ring"], window_bytes=PAGE) as ring,
    ):
        for length in [*range(1, 256)] * 3:
            send(made.programs["write"], mark=length)
            records: Any = ring.drain()
            assert [bytes(records[at]) for at in range(len(records))] == [(PACKET[:14] + bytes(255))[:length]]


def mapped_bytes() -> int:
    """What this process has mapped of maps: of rings, and of objects' variables."""
    with open("/proc/self/maps") as file:
        ranges = [line.split()[0].split("-") for line in file if "bpf-map" in line]
    return sum(int(end, 16) - int(start, 16) for start, end in ranges)


@pytest.mark.parametrize("window_bytes", [1, 24, PAGE + 8, 3 * PAGE])
def test_a_window_of_an_impossible_size_is_refused(window_bytes: int) -> None:
    with (
        loaded("ring_fixed", larger(16 * PAGE)) as made,
        pytest.raises(SondeError, match=f"a window of {window_bytes} bytes is no power of two of pages"),
    ):
        RingBuffer(made.maps["ring"], window_bytes=window_bytes)


def test_records_of_another_size_than_their_type_are_refused() -> None:
    with loaded("ring_fixed") as made, RingBuffer(made.maps["ring"], record=np.dtype("u8")) as ring:
        send(made.programs["write"])
        with pytest.raises(LayoutError, match="a record is not 8 bytes long"):
            ring.drain()


def test_records_of_any_size() -> None:
    lengths = [1, 255, 8, 9, 100, 14, 2]
    with loaded("ring_variable") as made, RingBuffer(made.maps["ring"]) as ring:
        for length in lengths:
            send(made.programs["write"], mark=length)
        records: Any = ring.drain()
        assert records.lengths.tolist() == lengths
        assert [len(records[at]) for at in range(len(records))] == lengths
        for at, length in enumerate(lengths):
            expected = (PACKET[:14] + bytes(255))[:length]
            assert bytes(records[at]) == expected
        assert (records.offsets % 8 == 0).all()
        assert len(ring.drain()) == 0


def test_batches_are_bounded() -> None:
    with loaded("ring_variable") as made, RingBuffer(made.maps["ring"]) as ring:
        for length in range(1, 12):
            send(made.programs["write"], mark=length)
        sizes = [len(ring.drain(4)) for _ in range(4)]
        assert sizes == [4, 4, 3, 0]


STORM = """
import os, sys, threading
def storm():
    for _ in range(int(sys.argv[1])):
        os.getppid()
print("ready", flush=True)
for _ in sys.stdin:
    workers = [threading.Thread(target=storm) for _ in range(int(sys.argv[2]))]
    for worker in workers: worker.start()
    for worker in workers: worker.join()
    print("done", flush=True)
"""


def test_a_small_ring_loses_under_a_storm_and_every_call_is_accounted_for() -> None:
    """4 KiB hold 170 records; the program counts what it could not write, and the sum is the workload's."""
    calls, threads, rounds = 50_021, 8, 2
    command = [sys.executable, "-c", STORM, str(calls), str(threads)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        child.stdout.readline()

        def edit(spec: ObjectSpec) -> None:
            spec.knobs["target"].value = child.pid
            spec.knobs["syscall"].value = GETPPID

        with (
            loaded("ring_fixed", edit) as made,
            RingBuffer(made.maps["ring"], record=record_of(made)) as ring,
        ):
            delivered = batches = 0
            with made.programs["storm"].attach():
                for _ in range(rounds):
                    child.stdin.write("go\n")
                    child.stdin.flush()
                    running = True
                    while running:
                        running = not select.select([child.stdout], [], [], 0.002)[0]
                        count = len(ring.drain())
                        delivered, batches = delivered + count, batches + bool(count)
                    assert child.stdout.readline() == "done\n"
                child.communicate()
            dropped = made.variables["dropped"].value
            # Where the program may be preempted (7.x) the kernel skips a run on a CPU where it is already running.
            skipped = made.programs["storm"].recursion_misses
            assert delivered == made.variables["written"].value
            assert dropped > 0
            assert batches >= rounds
            # It counts those of other processes too.
            made_calls = rounds * calls * threads
            assert made_calls - skipped <= delivered + dropped <= made_calls


def test_ring_can_be_polled() -> None:
    with loaded("ring_fixed") as made, RingBuffer(made.maps["ring"], record=record_of(made)) as ring:
        poll = select.poll()
        poll.register(ring, select.POLLIN)
        assert poll.poll(0) == []
        send(made.programs["write"])
        assert poll.poll(60_000) == [(ring.fileno(), select.POLLIN)]
        assert len(ring.drain()) == 1
        assert poll.poll(0) == []


def test_async_for_gives_batches_as_they_come() -> None:
    async def read(ring: RingBuffer, made: Object) -> list[int]:
        lengths: list[int] = []
        loop = asyncio.get_running_loop()
        async for batch in ring:
            lengths += batch["length"].tolist()  # type: ignore[call-overload]
            if len(lengths) == 7:
                return lengths
            # The next one comes while the loop waits, from another thread.
            loop.call_later(0.01, send_one, made, len(lengths))
        raise AssertionError("the ring ended")

    def send_one(made: Object, at: int) -> None:
        threading.Thread(
            target=send, args=(made.programs["write"],), kwargs={"packet": bytes(20 + at)}
        ).start()

    with loaded("ring_fixed") as made, RingBuffer(made.maps["ring"], record=record_of(made)) as ring:
        send_one(made, 0)
        assert asyncio.run(asyncio.wait_for(read(ring, made), 60)) == list(range(20, 27))


@pytest.mark.parametrize("from_thread", [False, True])
def test_async_for_ends_when_the_ring_is_closed(*, from_thread: bool) -> None:
    async def read(ring: RingBuffer) -> int:
        batches = 0
        loop = asyncio.get_running_loop()
        if from_thread:
            threading.Timer(0.05, ring.close).start()
        else:
            loop.call_later(0.05, ring.close)
        async for _ in ring:
            batches += 1
        return batches

    with loaded("ring_fixed") as made:
        ring = RingBuffer(made.maps["ring"], record=record_of(made))
        assert asyncio.run(asyncio.wait_for(read(ring), 60)) == 0
        assert ring.closed


TRIES = 40
"""A busy machine gives a thread that waits for the interpreter no processor for the 20 ms that a drain takes."""


def test_reading_lets_other_threads_run() -> None:
    """A thread that only needs the interpreter gets it while a large ring is drained."""
    assert any(ticks_while_draining() > 2 for _ in range(TRIES))


def ticks_while_draining() -> int:
    """Drain a large ring while another thread runs; gives how often that one got the interpreter meanwhile."""
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.0002)

    with (
        loaded("ring_fixed", larger(64 << 20)) as made,
        RingBuffer(made.maps["ring"], record=record_of(made)) as ring,
    ):
        written = 1_000_003
        send(made.programs["write"], repeat=written)
        interval = sys.getswitchinterval()
        # Nobody is made to give the interpreter up: the ticks come only where the drain does so by itself.
        sys.setswitchinterval(1000)
        ticker = threading.Thread(target=tick)
        ticker.start()
        try:
            begin, read = time.monotonic(), 0
            while batch := len(ring.drain()):
                read += batch
            end = time.monotonic()
        finally:
            stop.set()
            sys.setswitchinterval(interval)
            ticker.join()
        assert read == written
    return sum(begin < at < end for at in ticks)


def test_rings_close_with_their_object_and_say_so() -> None:
    with loaded("ring_fixed") as made:
        ring = RingBuffer(made.maps["ring"])
        with pytest.raises(SondeError, match="no ring buffer"):
            RingBuffer(made.maps[".bss"])
    assert ring.closed
    for use in (ring.drain, ring.fileno):
        with pytest.raises(SondeError, match="it is closed"):
            use()
    ring.close()


def test_rings_can_be_made_larger_before_load() -> None:
    with loaded("ring_fixed", larger(1 << 20)) as made:
        assert made.maps["ring"].max_entries == 1 << 20
        with RingBuffer(made.maps["ring"], record=record_of(made)) as ring:
            send(made.programs["write"], repeat=10_007)
            assert len(ring.drain()) == 10_007


def test_a_ring_of_an_impossible_size_is_rounded_up() -> None:
    """A power of two of pages is what the kernel takes."""
    with loaded("ring_fixed", larger(5000)) as made:
        assert made.maps["ring"].max_entries == 8192


# ---- perf buffers -------------------------------------------------------------------------------------------


def test_perf_buffer_gives_records_of_one_size() -> None:
    with loaded("perf_events") as made, PerfBuffer(made.maps["fixed"]) as buffer:
        for length in range(20, 31):
            send(made.programs["write_fixed"], packet=bytes(length))
        records = buffer.drain()
        rows = [np.frombuffer(records[at][:16], "u8, u4, u4")[0] for at in range(len(records))]
        assert sorted(int(row[1]) for row in rows) == list(range(20, 31))
        assert buffer.lost == 0
        assert len(buffer.drain()) == 0


def test_perf_buffer_gives_records_with_packets_behind_them() -> None:
    with loaded("perf_events") as made, PerfBuffer(made.maps["variable"]) as buffer:
        sizes = [14, 61, 200]
        for size in sizes:
            send(made.programs["write_variable"], packet=PACKET[:14] + bytes([size]) * (size - 14))
        records = buffer.drain()
        found = sorted(bytes(records[at]) for at in range(len(records)))
        assert sorted(int.from_bytes(each[8:12], "little") for each in found) == sizes
        for each in found:
            size = int.from_bytes(each[8:12], "little")
            assert each[16 : 16 + size] == PACKET[:14] + bytes([size]) * (size - 14)


def test_perf_buffer_can_be_polled_and_counts_what_it_lost() -> None:
    with loaded("perf_events") as made, PerfBuffer(made.maps["fixed"], pages_per_cpu=1) as buffer:
        poll = select.poll()
        poll.register(buffer, select.POLLIN)
        assert poll.poll(0) == []
        read = 0
        allowed = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {min(allowed)})
        try:
            send(made.programs["write_fixed"], repeat=1009)
            assert poll.poll(60_000) == [(buffer.fileno(), select.POLLIN)]
            read += len(buffer.drain())
            # The kernel tells of a loss with the next record that finds room.
            send(made.programs["write_fixed"])
            read += len(buffer.drain())
        finally:
            os.sched_setaffinity(0, allowed)
        assert read == made.variables["written"].value
        assert buffer.lost == made.variables["dropped"].value == 1010 - read > 0


def test_perf_buffers_say_what_they_need() -> None:
    with loaded("perf_events") as made, pytest.raises(SondeError, match="no perf event array"):
        PerfBuffer(made.maps[".bss"])


# ---- the other direction ------------------------------------------------------------------------------------


def test_program_drains_what_python_writes(require_feature: Require) -> None:
    require_feature("user_ring_buffer")
    with loaded("user_ring") as made:
        assert made.btf is not None
        with UserRingBuffer(made.maps["orders"], record=made.btf.find("u64")) as ring:
            for number in range(1, 48):
                ring.write(number)
            assert made.programs["drain"].test_run().return_value == 0
            assert (made.variables["drained"].value, made.variables["sum"].value) == (47, 47 * 48 // 2)
            with pytest.raises(ValueError, match="u64 takes"):
                ring.write(-1)
        assert ring.closed
        with pytest.raises(SondeError, match="it is closed"):
            ring.write(1)


def test_full_user_ring_says_how_large_it_is(require_feature: Require) -> None:
    require_feature("user_ring_buffer")
    with loaded("user_ring") as made, UserRingBuffer(made.maps["orders"]) as ring:
        with pytest.raises(KernelError, match="a record of 5000 bytes does not fit into its 4096"):
            ring.write(bytes(5000))
        room = 4096 // 16
        for _ in range(room):
            ring.write((1).to_bytes(8, "little"))
        with pytest.raises(KernelError, match="it is full, it has 4096 bytes"):
            ring.write(bytes(8))
        made.programs["drain"].test_run()
        assert made.variables["sum"].value == room
        ring.write(bytes(8))
        with pytest.raises(SondeError, match="no user ring buffer"):
            UserRingBuffer(made.maps[".bss"])
