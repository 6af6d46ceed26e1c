"""What the agent costs where little happens: memory and CPU time of both its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Idle:
    """Megabytes resident of both processes (what they share is counted once: PSS too), and the share of one core."""

    agent_rss_mb: float
    loader_rss_mb: float
    pss_mb: float
    cpu_share: float


def measure(*, settle_s: float = 5.0, seconds: float = 30.0) -> Idle:
    """Run ``sonde run`` as it comes, let it settle, and look at it for so long."""
    ready, told = os.pipe()
    command = [
        sys.executable,
        "-m",
        "sonde",
        "run",
        "--ready-fd",
        str(told),
        "--set",
        "prometheus.listen=127.0.0.1:0",
    ]
    agent = subprocess.Popen(command, pass_fds=(told,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        os.close(told)
        os.read(ready, 1)
        time.sleep(settle_s)
        with open(f"/proc/{agent.pid}/task/{agent.pid}/children", encoding="ascii") as file:
            pids = [agent.pid, *map(int, file.read().split())]
        before, begun = sum(map(_cpu_s, pids)), time.monotonic()
        time.sleep(seconds)
        spent, elapsed = sum(map(_cpu_s, pids)) - before, time.monotonic() - begun
        sizes = [_memory_mb(pid) for pid in pids]
        return Idle(
            sizes[0][0], sum(rss for rss, _ in sizes[1:]), sum(pss for _, pss in sizes), spent / elapsed
        )
    finally:
        os.close(ready)
        agent.terminate()
        agent.wait(timeout=30)


def _cpu_s(pid: int) -> float:
    with open(f"/proc/{pid}/stat", "rb") as file:
        fields = file.read().rpartition(b")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def _memory_mb(pid: int) -> tuple[float, float]:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        sizes = {words[0]: int(words[1]) for words in map(str.split, file) if words[-1] == "kB"}
    return sizes["Rss:"] / 1000 * 1.024, sizes["Pss:"] / 1000 * 1.024
