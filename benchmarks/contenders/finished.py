"""What a command takes from its start to its result: CPU time, peak memory, and how long it went on after its end was asked for."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.contenders import resources
from benchmarks.contenders.lifetime import WITH_US

PAGE_KB = os.sysconf("SC_PAGE_SIZE") // 1024


@dataclass(frozen=True)
class Finished:
    """CPU seconds of its processes, the most resident memory that they had together in MB, and seconds from the end of sampling."""

    cpu_s: float
    memory_mb: float
    after_s: float

    def then(self, other: Finished) -> Finished:
        """Add what has to be run afterwards; memory is not held at once."""
        return Finished(
            self.cpu_s + other.cpu_s, max(self.memory_mb, other.memory_mb), self.after_s + other.after_s
        )


class _Peak(threading.Thread):
    """Watches a process and its children: the most resident memory that they had together."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid, self._peak_kb, self._ended = pid, 0, threading.Event()

    def run(self) -> None:
        own = _command(os.getpid())
        while not self._ended.wait(0.01):
            # Before its exec it is a copy of this process.
            if _command(self._pid) == own:
                continue
            self._peak_kb = max(self._peak_kb, sum(map(_resident_kb, resources.tree(self._pid))))

    def stop(self) -> float:
        """End it, and give megabytes."""
        self._ended.set()
        self.join()
        return self._peak_kb / 1024


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _resident_kb(pid: int) -> int:
    with contextlib.suppress(OSError):
        # Pages; the second figure is what is resident.
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE_KB
    return 0


def finish(
    command: Sequence[str], *, seconds: float = 0, ready: Callable[[], None] | None = None, **options: object
) -> Finished:
    """Run a command to its end; where there is ``ready``, which waits for its start, it is ended after so many seconds."""
    process = subprocess.Popen([*WITH_US, *command], **options)  # type: ignore[call-overload]
    peak = _Peak(process.pid)
    peak.start()
    begun = time.perf_counter()
    if ready is not None:
        ready()
        time.sleep(seconds)
        begun = time.perf_counter()
        os.kill(process.pid, signal.SIGINT)
    _, status, used = os.wait4(process.pid, 0)
    after_s = time.perf_counter() - begun
    memory_mb = peak.stop()
    process.returncode = os.waitstatus_to_exitcode(status)
    # perf ends itself by the signal that it was ended by.
    if process.returncode not in (0, 130, -signal.SIGINT):
        raise RuntimeError(f"{command!r} ended with status {process.returncode}")
    return Finished(used.ru_utime + used.ru_stime, memory_mb, after_s)
