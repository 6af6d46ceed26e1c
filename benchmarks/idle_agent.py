"""What the agent costs where little happens: memory and CPU time of both its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.contenders import resources
from benchmarks.contenders.lifetime import with_us_within


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
        *with_us_within(settle_s + seconds + 60),
        sys.executable,
        "-m",
        "sonde",
        "run",
        "--ready-fd",
        str(told),
        "--set",
        "prometheus.listen=127.0.0.1:0",
    ]
    agent = subprocess.Popen(
        command,
        pass_fds=(told,),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        os.close(told)
        os.read(ready, 1)
        time.sleep(settle_s)
        # The first is what ends it.
        _, *pids = resources.tree(agent.pid)
        before, begun = resources.cpu(agent.pid), time.monotonic()
        time.sleep(seconds)
        after, elapsed = resources.cpu(agent.pid), time.monotonic() - begun
        spent = after.user_s + after.kernel_s - before.user_s - before.kernel_s
        sizes = [_memory_mb(pid) for pid in pids]
        return Idle(
            sizes[0][0], sum(rss for rss, _ in sizes[1:]), sum(pss for _, pss in sizes), spent / elapsed
        )
    finally:
        os.close(ready)
        agent.terminate()
        agent.wait(timeout=30)


def _memory_mb(pid: int) -> tuple[float, float]:
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
        sizes = {words[0]: int(words[1]) for words in map(str.split, file) if words[-1] == "kB"}
    return sizes["Rss:"] / 1000 * 1.024, sizes["Pss:"] / 1000 * 1.024
