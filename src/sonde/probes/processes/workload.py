"""Makes a known number of processes, for tests and for trying the probe: prints what it made, as JSON.

python -m sonde.probes.processes.workload --forks 101 --programs 103
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
from dataclasses import dataclass

EXIT_CODE = 3
"""How the processes end that run no program of their own."""


@dataclass(frozen=True, slots=True)
class Workload:
    """``forks`` processes that only end, ``programs`` that run true; primes show what is counted twice or missed."""

    forks: int = 101
    programs: int = 103

    @property
    def expected(self) -> dict[str, int]:
        """How many events of each kind; every process is forked and ends."""
        return {"fork": self.forks + self.programs, "exec": self.programs, "exit": self.forks + self.programs}

    def run(self) -> None:
        """Make the processes one after the other, and wait for each."""
        true = shutil.which("true")
        assert true is not None, "every Linux has true"
        for _ in range(self.forks):
            pid = os.fork()
            if pid == 0:
                os._exit(EXIT_CODE)
            os.waitpid(pid, 0)
        for _ in range(self.programs):
            os.waitpid(os.posix_spawn(true, ["true"], {}), 0)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Make a known number of processes.")
    parser.add_argument("--forks", type=int, default=101)
    parser.add_argument("--programs", type=int, default=103)
    arguments = parser.parse_args()
    workload = Workload(arguments.forks, arguments.programs)
    workload.run()
    print(json.dumps({"pid": os.getpid(), "events": workload.expected}))


if __name__ == "__main__":
    main()
