"""What the probe ``tcp`` adds to a connection, to a system call and to a transfer: ``python -m benchmarks.per_connection``.

Nanoseconds of our programs by the kernel's own statistics, beside empty programs on the same hooks in the same moment: the
clock that it reads twice is in both. A connection is both its sides, through loopback. Medians of several rounds; calls
and transfers are measured by the wall clock, with and without the probe in turn.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack

from benchmarks.contenders import floors
from sonde.bpf import Object, RunStatistics
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run

ROUNDS = 7
CONNECTIONS = 1009
WORKLOAD = [
    sys.executable,
    "-m",
    "sonde.probes.tcp.workload",
    "--refused",
    "0",
    "--resets",
    "0",
    "--connections",
]
CALLS = 300_000
TRANSFER_BYTES = 1 << 30
PIECE_BYTES = 1 << 16


def _spent_ns(loaded: Object) -> int:
    # The end of other system calls is measured by itself.
    return sum(each.run_time_ns for name, each in loaded.programs.items() if name != "accept_exited")


def per_connection(output: str) -> tuple[float, float, float]:
    """Give nanoseconds of our programs, of empty ones, and of a connection as a whole."""
    with ExitStack() as stack:
        run = stack.enter_context(Run(probe("tcp"), output))
        empty = stack.enter_context(floors.attached("floor_state", "floor_destroyed"))
        stack.enter_context(RunStatistics())
        before = _spent_ns(run.loaded), _spent_ns(empty)
        begun = time.perf_counter()
        subprocess.run([*WORKLOAD, str(CONNECTIONS)], check=True, stdout=subprocess.DEVNULL)
        whole_ns = (time.perf_counter() - begun) * 1e9
        ours_ns, empty_ns = _spent_ns(run.loaded) - before[0], _spent_ns(empty) - before[1]
        return ours_ns / CONNECTIONS, empty_ns / CONNECTIONS, whole_ns / CONNECTIONS


def _call_ns() -> float:
    call = os.getppid
    begun = time.perf_counter()
    for _ in range(CALLS):
        call()
    return (time.perf_counter() - begun) / CALLS * 1e9


def _transfer_s() -> float:
    """Send a gibibyte through loopback, from one thread to another; the kernel copies without the interpreter's lock."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
    room = bytearray(PIECE_BYTES)

    def receive() -> None:
        while receiver.recv_into(room):
            pass

    with sender, receiver:
        reading = threading.Thread(target=receive)
        reading.start()
        piece = bytes(PIECE_BYTES)
        begun = time.perf_counter()
        for _ in range(TRANSFER_BYTES // PIECE_BYTES):
            sender.sendall(piece)
        sender.shutdown(socket.SHUT_WR)
        reading.join()
        return time.perf_counter() - begun


def _with_and_without(measure: Callable[[], float]) -> tuple[float, float]:
    """Give the medians of what is measured in turn: with the probe, and without."""
    measure()
    alone, beside = [], []
    for _ in range(ROUNDS):
        alone.append(measure())
        with Run(probe("tcp"), "processes", selection=Selection(own=True)) as run:
            beside.append(measure())
            run.read()
    return statistics.median(beside), statistics.median(alone)


def _walk_us(connections: int) -> float:
    """Read a table beside open connections; microseconds of the walk for each of their sides."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
        run = stack.enter_context(Run(probe("tcp"), "processes", selection=Selection(own=True)))
        for _ in range(connections):
            stack.enter_context(socket.create_connection(server.getsockname()))
            stack.enter_context(server.accept()[0])
        run.read()
        stack.enter_context(RunStatistics())
        program = run.loaded.programs["count_live"]
        before = program.run_time_ns, program.run_count
        run.read()
        return (program.run_time_ns - before[0]) / (program.run_count - before[1]) / 1000


def main() -> None:
    """Print what each output adds."""
    print(f"{'added to a connection (both sides)':38} {'ours':>9} {'empty':>9}   of all")
    for output in (each.name for each in probe("tcp").outputs):
        rounds = [per_connection(output) for _ in range(ROUNDS)]
        ours, empty, whole = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(f"{output:38} {ours:6.0f} ns {empty:6.0f} ns   {ours / whole:.2%} of {whole / 1000:.0f} µs")
    beside, alone = _with_and_without(_call_ns)
    print(f"{'a getppid() from Python':38} {beside:6.0f} ns {alone:6.0f} ns   + {beside - alone:.0f} ns")
    beside, alone = _with_and_without(_transfer_s)
    gigabits = TRANSFER_BYTES * 8 / 1e9
    print(
        f"{'a transfer through loopback':38} {gigabits / beside:5.1f} Gb/s {gigabits / alone:4.1f} Gb/s"
        f"   ratio {alone / beside:.3f}"
    )
    print(f"{'reading a table, each open socket':38} {_walk_us(499):6.2f} µs")
    for output in (each.name for each in probe("tcp").outputs):
        with Run(probe("tcp"), output) as run:
            told = run.describe()
        here, large = told["map_memory_bytes"] / 1e6, told["map_memory_bytes_128_cpus"] / 1e6
        print(f"map memory, {output:26} {here:5.1f} MB here, {large:5.1f} MB with 128 CPUs")


if __name__ == "__main__":
    main()
