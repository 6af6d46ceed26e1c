"""What the whole of a tool takes: time from its start to attached, and peak memory."""

from __future__ import annotations

import os
import shutil
import signal
import statistics
import subprocess
import time

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
    """Run a command to its end; the largest resident set of any process of it, None where it is not installed."""
    if shutil.which(command[0]) is None:
        return None
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    return usage.ru_maxrss / 1024
