"""Has threads blocked in known ways, so often and so long as it measures itself: for tests, and for trying the probe.

    python -m sonde.probes.offcpu.workload sleep futex pipe lock disk

Each kind is a thread of its own in a process of its own, named after it, that does nothing else. It measures the time of its
calls by CLOCK_MONOTONIC, less what it used of a CPU meanwhile: that is what it was off the CPU.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import json
import mmap
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

BLOCKS, BLOCK_S = 31, 0.02
FILE_BYTES, PIECE_BYTES = 192 << 20, 4 << 20
READ_BYTES = 768 << 20
"""So much is read of a file that is there, however small it is."""
MUTEX_BYTES = 64
"""More than a pthread_mutex_t has; zeros are one that is free."""


@dataclass
class Timed:
    """Adds up how long calls were off the CPU."""

    blocks: int = 0
    off_cpu_ns: int = 0

    @contextmanager
    def call(self) -> Iterator[None]:
        """Measure what is done in the block."""
        begun, used = time.monotonic_ns(), time.thread_time_ns()
        yield
        used = time.thread_time_ns() - used
        self.off_cpu_ns += time.monotonic_ns() - begun - used
        self.blocks += 1


def _beside(act: Callable[[int], object], awaited: Callable[[int], int]) -> threading.Thread:
    """Do something once for each block, from a thread of its own, a while after the calling one is blocked.

    ``awaited`` is what it is blocked at, by the number of the block: the first argument of its system call.
    """
    path = Path(f"/proc/self/task/{threading.get_native_id()}/syscall")

    def run() -> None:
        for number in range(BLOCKS):
            # The number of the call, and its arguments; "running" where it is not blocked.
            while path.read_text().split()[1:2] != [hex(awaited(number))]:
                time.sleep(0.000_5)
            time.sleep(BLOCK_S)
            act(number)

    return threading.Thread(target=run)


def _sleep(timed: Timed) -> None:
    for _ in range(BLOCKS):
        with timed.call():
            time.sleep(BLOCK_S)


def _futex(timed: Timed) -> None:
    """A mutex each time, which another thread has, and gives back after a while."""
    libc = ctypes.CDLL(None)
    mutexes = [ctypes.create_string_buffer(MUTEX_BYTES) for _ in range(BLOCKS)]
    for mutex in mutexes:
        libc.pthread_mutex_lock(mutex)
    _beside(
        lambda number: libc.pthread_mutex_unlock(mutexes[number]),
        lambda number: ctypes.addressof(mutexes[number]),
    ).start()
    for mutex in mutexes:
        with timed.call():
            libc.pthread_mutex_lock(mutex)


def _pipe(timed: Timed) -> None:
    reads, writes = os.pipe()
    _beside(lambda _: os.write(writes, b"."), lambda _: reads).start()
    for _ in range(BLOCKS):
        with timed.call():
            os.read(reads, 1)


def _lock(timed: Timed) -> None:
    """A lock of a file each time, which another descriptor has."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}" for number in range(BLOCKS)]
        held = [os.open(path, os.O_CREAT | os.O_RDWR) for path in paths]
        wanted = [os.open(path, os.O_RDWR) for path in paths]
        for each in held:
            fcntl.flock(each, fcntl.LOCK_EX)
        _beside(
            lambda number: fcntl.flock(held[number], fcntl.LOCK_UN), lambda number: wanted[number]
        ).start()
        for each in wanted:
            with timed.call():
                fcntl.flock(each, fcntl.LOCK_EX)


def _disk(timed: Timed, path: str = "") -> None:
    """Written to the disk, and read from it, past the cache and in large pieces; a file that is there is only read."""
    buffer = mmap.mmap(-1, PIECE_BYTES)
    if path:
        with timed.call():
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECT)
    else:
        with timed.call():
            unnamed = os.open(".", os.O_TMPFILE | os.O_RDWR, 0o600)
        descriptor = os.open(f"/proc/self/fd/{unnamed}", os.O_RDWR | os.O_DIRECT)
        for at in range(0, FILE_BYTES, PIECE_BYTES):
            with timed.call():
                os.pwritev(descriptor, [buffer], at)
                os.fsync(descriptor)
    with timed.call():
        size_bytes = os.fstat(descriptor).st_size
    pieces = range(0, size_bytes, PIECE_BYTES)
    for number in range((READ_BYTES if path else FILE_BYTES) // PIECE_BYTES):
        with timed.call():
            os.preadv(descriptor, [buffer], pieces[number % len(pieces)])


KINDS: dict[str, Callable[..., None]] = {
    "sleep": _sleep,
    "futex": _futex,
    "pipe": _pipe,
    "lock": _lock,
    "disk": _disk,
}


def run(kind: str, *arguments: str) -> Timed:
    """Be blocked in one way, in a thread that has the kind's name; what it measured."""
    timed = Timed()

    def work() -> None:
        Path("/proc/thread-self/comm").write_text(kind)
        KINDS[kind](timed, *arguments)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return timed


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Be blocked in known ways, and measure it.")
    parser.add_argument(
        "kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; all of them by default"
    )
    kinds = parser.parse_args().kinds or [*KINDS]
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"there is no kind {', '.join(sorted(unknown))}: valid: {', '.join(KINDS)}")
    children = []
    for kind in kinds:
        pid = os.fork()
        if pid == 0:
            timed = run(kind)
            told = {"pid": os.getpid(), "comm": kind, "blocks": timed.blocks, "off_cpu_ns": timed.off_cpu_ns}
            print(json.dumps(told), flush=True)
            os._exit(0)
        children.append(pid)
    sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))


if __name__ == "__main__":
    main()
