"""The agent under load, for as long as SOAK_S says: nothing grows, and the account is exact at the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kernel.running_agent import Agent, agent

# The same on every kernel.
pytestmark = [pytest.mark.kernel, pytest.mark.beside, pytest.mark.host_only]

SECONDS = float(os.environ.get("SOAK_S", "60"))
LOAD = """
import os, sys, time
turn = time.monotonic()
while os.getppid() == int(sys.argv[1]):
    for _ in range(2000): os.getuid()
    for _ in range(20):
        child = os.fork()
        if not child: os._exit(os.getpid() % 3)
        os.waitpid(child, 0)
    try: os.stat("/no/such/file")
    except OSError: pass
    turn = max(turn + 0.1, time.monotonic() - 1)
    time.sleep(max(0, turn - time.monotonic()))
"""
"""Two hundred processes a second, whatever else the machine does: the agent remembers those of two minutes."""
GROWTH_BYTES = 4_000_000 if SECONDS >= 600 else 12_000_000
"""What a process may grow by between the first and the last third. In the first minutes what has a bound fills up to it:
2,000 series of each metric, the table's rows and those before, identities."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What a process holds."""

    memory_bytes: int
    descriptors: int
    threads: int


def sample(pid: int) -> Sample:
    with open(f"/proc/{pid}/statm") as file:
        pages = int(file.read().split()[1])
    return Sample(
        pages * os.sysconf("SC_PAGE_SIZE"),
        len(os.listdir(f"/proc/{pid}/fd")),
        len(os.listdir(f"/proc/{pid}/task")),
    )


def sampled(running: Agent, seconds: float) -> list[tuple[Sample, Sample]]:
    """Look at both processes thirty times, and scrape in between."""
    found = []
    for _ in range(30):
        time.sleep(seconds / 30)
        running.page()
        found.append((sample(running.process.pid), sample(running.loader_pid)))
    return found


def middle(values: list[int]) -> int:
    return sorted(values)[len(values) // 2]


@contextmanager
def load() -> Iterator[int]:
    """A process that makes calls, forks, and fails, for as long as it lives."""
    process = subprocess.Popen([sys.executable, "-c", LOAD, str(os.getpid())])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(SECONDS + 300)
def test_nothing_grows_and_nothing_is_lost_uncounted(tmp_path: Path) -> None:
    settings = {
        "series__by": "pid",
        "interval": "1s",
        "file__path": str(tmp_path / "lines"),
        "file__rotate_size": "5MB",
        "file__rotate_keep": "1",
        "probes__processes__output": "events,lifecycle",
    }
    with load() as pid:
        # Others' storms at its end, and none at its beginning, would be growth.
        for name in ("processes", "syscalls"):
            settings |= {f"probes__{name}__pid": str(pid), f"probes__{name}__children": "true"}
        with agent(tmp_path, **settings) as running:
            samples = sampled(running, SECONDS)
            summary = running.end()

    first, last = samples[5:15], samples[20:]
    for which in (0, 1):
        grown = middle([each[which].memory_bytes for each in last]) - middle(
            [each[which].memory_bytes for each in first]
        )
        # As text, which pytest does not shorten.
        assert grown < GROWTH_BYTES, " ".join(str(each[which].memory_bytes) for each in samples)
        for name in ("descriptors", "threads"):
            # A scrape's connection comes and goes.
            assert max(getattr(each[which], name) for each in last) <= 2 + max(
                getattr(each[which], name) for each in first
            )
    for account in summary["outputs"].values():
        parts = ("delivered", "aggregated", "filtered", "sampled_out")
        assert account["seen"] == sum(account[part] for part in parts) + sum(account["lost"].values()), (
            account
        )
    for exporter in summary["exporters"].values():
        assert not exporter["points_dropped"]
    assert all(json.loads(line) for line in (tmp_path / "lines").read_text().splitlines())
