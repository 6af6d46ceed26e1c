"""Has threads wait for a CPU, and tells how long the kernel says that they did: for tests, and for trying the probe.

    python -m sonde.probes.runqueue.workload --processes 3 --sleeps 101

The processes share one CPU, whose time each of them wants; and each goes to sleep so many times, of which every one ends in a
wait, however short.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path

CPU_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Waited:
    """What the kernel's scheduler counted of threads: time on a runqueue in ns, and how often they have left their CPUs.

    Of a thread that is blocked that is as often as it got one. (The scheduler's own count of time slices leaves out those after
    which a thread was preempted on its way to sleep.)
    """

    time_ns: int = 0
    count: int = 0

    @classmethod
    def of(cls, pid: int) -> Waited:
        """Add up the threads that a process has now (schedstat and status in /proc/PID/task/TID)."""
        total = cls()
        for path in Path(f"/proc/{pid}/task").iterdir():
            _, time_ns, _ = (int(word) for word in (path / "schedstat").read_text().split())
            switches = re.findall(r"_ctxt_switches:\s+(\d+)", (path / "status").read_text())
            total = cls(total.time_ns + time_ns, total.count + sum(map(int, switches)))
        return total

    def __sub__(self, before: Waited) -> Waited:
        return Waited(self.time_ns - before.time_ns, self.count - before.count)


def work(sleeps: int, *, cpu_seconds: float = CPU_SECONDS) -> None:
    """Use a CPU for so long, and sleep so many times in between."""
    begun = time.thread_time()
    for done in range(1, sleeps + 1):
        while time.thread_time() - begun < cpu_seconds * done / sleeps:
            pass
        time.sleep(0.000_1)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Have processes wait for one CPU.")
    parser.add_argument("--processes", type=int, default=3)
    parser.add_argument("--sleeps", type=int, default=101)
    arguments = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    children = []
    for _ in range(arguments.processes):
        pid = os.fork()
        if pid == 0:
            work(arguments.sleeps)
            waited = Waited.of(os.getpid())
            print(
                json.dumps({"pid": os.getpid(), "waits": waited.count, "waited_ns": waited.time_ns}),
                flush=True,
            )
            os._exit(0)
        children.append(pid)
    sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))


if __name__ == "__main__":
    main()
