"""Uses a known CPU time, for tests and for trying the probe: prints what each thread used, as JSON.

    python -m sonde.probes.cpu.workload --seconds 2 --threads 2

Each thread has a name of its own (busy-0, busy-1, …) and spins until it has used its part of the time.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Workload:
    """How much CPU time is used, by how many threads together."""

    seconds: float = 2.0
    threads: int = 1
    used: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Use it; returns when all threads have. ``used`` is then the CPU time in seconds by thread name."""
        threads = [threading.Thread(target=self._spin, args=(at,)) for at in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _spin(self, at: int) -> None:
        name = f"busy-{at}"
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as file:
            file.write(name)
        begun = time.thread_time()
        while time.thread_time() - begun < self.seconds / self.threads:
            _ = sum(range(1000))
        self.used[name] = time.thread_time() - begun


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Use a known CPU time.")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--wait", action="store_true", help="print a line, and begin when one comes on standard input"
    )
    arguments = parser.parse_args()
    if arguments.wait:
        print("ready", flush=True)
        sys.stdin.readline()
    workload = Workload(arguments.seconds, arguments.threads)
    workload.run()
    print(json.dumps(workload.used))


if __name__ == "__main__":
    main()
