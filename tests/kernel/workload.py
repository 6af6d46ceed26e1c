"""Running ``objects/make_calls.c`` between two moments: stopped before, ended after."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from kernel.compiled import program_of
from sonde import Object


@dataclass(frozen=True)
class Calls:
    """How many threads each make how many calls; primes show what is counted twice or split."""

    threads: int = 8
    openat: int = 1009
    read: int = 2003
    write: int = 503
    connect: int = 307
    process: subprocess.Popen[bytes] = field(init=False, repr=False)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def expected(self) -> dict[str, int]:
        """What the process makes in all, by system call."""
        names = ("openat", "read", "write", "connect")
        return {name: self.threads * getattr(self, name) for name in names}

    def run(self) -> None:
        """Let it make its calls; returns when it has ended."""
        os.kill(self.pid, signal.SIGCONT)
        assert self.process.wait(120) == 0


def assert_counted(found: int, made: int, loaded: Object) -> None:
    """Every call is counted, but for those for which the kernel says itself that it did not run the program.

    Since programs on system calls can be preempted (Linux 7.x) it starts no other on that CPU meanwhile, and counts
    that for each program, machine-wide. Before, it never does, and the count is exact.
    """
    skipped = sum(program.recursion_misses for program in loaded.programs.values())
    assert made - skipped <= found <= made


@contextmanager
def stopped(calls: Calls) -> Iterator[Calls]:
    """Start the process, and wait until it has stopped before its first call."""
    numbers = (calls.threads, calls.openat, calls.read, calls.write, calls.connect)
    process = subprocess.Popen([program_of("make_calls.c"), *map(str, numbers)])
    object.__setattr__(calls, "process", process)
    try:
        _, status = os.waitpid(process.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), f"it ended with {status}"
        yield calls
    finally:
        if process.returncode is None:
            process.kill()
        process.wait()
