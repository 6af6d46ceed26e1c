"""What the whole of a tool takes: time from its start to attached, and peak memory."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.tracers import SONDE


def start_to_attached_s(*arguments: str, rounds: int) -> float:
    """Start ``sonde top syscalls`` and wait for the byte of ``--ready-fd``; the median over the rounds."""
    took = []
    for _ in range(rounds):
        read, write = os.pipe()
        command = [str(SONDE), "top", "syscalls", "--for", "60s", "--ready-fd", str(write), *arguments]
        begun = time.perf_counter()
        process = subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL)
        os.close(write)
        assert os.read(read, 1), "it did not attach"
        took.append(time.perf_counter() - begun)
        os.close(read)
        process.send_signal(signal.SIGINT)
        process.wait()
    return statistics.median(took)


def peak_memory_mb(command: list[str]) -> float | None:
    """Run a command to its end and watch its high-water mark; None where it is not installed.

    (What wait4(2) tells begins with what the parent had at the fork, which is more than some of these ever have.)
    """
    if shutil.which(command[0]) is None:
        return None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak_kb = 0
    while process.poll() is None:
        with contextlib.suppress(OSError, StopIteration):
            status = Path(f"/proc/{process.pid}/status").read_text()
            told = next(line for line in status.splitlines() if line.startswith("VmHWM"))
            # Before its exec it is a copy of us.
            if Path(f"/proc/{process.pid}/exe").readlink().name != Path(sys.executable).resolve().name or (
                os.path.basename(command[0]) in Path(f"/proc/{process.pid}/cmdline").read_text()
            ):
                peak_kb = max(peak_kb, int(told.split()[1]))
        time.sleep(0.02)
    return peak_kb / 1024
