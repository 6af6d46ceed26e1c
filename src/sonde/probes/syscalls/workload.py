"""Makes a known number of system calls, for tests and for trying the probe: prints what it made, as JSON.

    python -m sonde.probes.syscalls.workload --threads 8 --calls 1009

Each thread calls getppid, close(-1) and sched_yield ``calls`` times each; nothing else in the process does.
"""

from __future__ import annotations

import argparse
import ctypes
import errno
import json
import os
import threading
from dataclasses import dataclass

EXPECTED = (("getppid", None), ("close", "EBADF"), ("sched_yield", None))
"""System call and errno of what each thread does ``calls`` times."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How many threads make how many calls of each kind; primes show what is counted twice or split."""

    threads: int = 8
    calls: int = 1009

    @property
    def expected(self) -> dict[tuple[str, str | None], int]:
        """Count of each (system call, errno) over all threads."""
        return dict.fromkeys(EXPECTED, self.threads * self.calls)

    def run(self) -> None:
        """Make the calls; returns when all threads have."""
        threads = [threading.Thread(target=self._calls) for _ in range(self.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _calls(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        for _ in range(self.calls):
            libc.getppid()
            libc.sched_yield()
            libc.close(-1)
        assert ctypes.get_errno() == errno.EBADF


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make a known number of system calls.")
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=1009)
    arguments = parser.parse_args()
    workload = Workload(arguments.threads, arguments.calls)
    workload.run()
    made = [
        {"syscall": name, "error": error, "count": count}
        for (name, error), count in workload.expected.items()
    ]
    print(json.dumps({"pid": os.getpid(), "calls": made}))


if __name__ == "__main__":
    main()
