"""Profiles whose clocks the loader keeps, read by another process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sonde.agent.loader.loader import Loader
from sonde.probe import Selection

PARANOID = int(Path("/proc/sys/kernel/perf_event_paranoid").read_text())
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        PARANOID > 2,
        reason=f"kernel.perf_event_paranoid is {PARANOID}: CAP_SYS_ADMIN, which loaders have not",
    ),
]

SPIN = "import sys, time; sys.stdin.readline()\nwhile time.thread_time() < 0.7: pass"


@contextmanager
def waiting() -> Iterator[subprocess.Popen[bytes]]:
    """Start a process that uses 0.7 s of CPU time when it is told to."""
    with subprocess.Popen([sys.executable, "-c", SPIN], stdin=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def test_generations_and_skipped_ticks_are_read_by_descriptors() -> None:
    """Differences add up to the samples, and the ticks are accounted for: the loader tells which were skipped."""
    with waiting() as process, Loader.spawn(["cpu"]) as loader:
        selection = Selection(pid=process.pid)
        with loader.start(
            "cpu", None, selection=selection, values={"frequency": 997}, differences=True
        ) as run:
            total = len(run.read())
            process.communicate(b"\n", timeout=60)
            for _ in range(2):
                total += int(run.read()["count"].sum())
            run.stop()
            batch = run.read()
            total += int(batch["count"].sum())

            assert total > 0
            assert batch.accounting.aggregated == total
            assert batch.accounting.balanced, str(batch.accounting)
            assert batch.accounting.seen > total
            assert "skipped" in batch.accounting.lost


def test_samples_stay_readable_without_the_loader() -> None:
    """Its clocks end with it, and what they made is in the maps."""
    with (
        waiting() as process,
        Loader.spawn(["cpu"]) as loader,
        loader.start("cpu", None, selection=Selection(pid=process.pid)) as run,
    ):
        process.communicate(b"\n", timeout=60)
        loader.close()
        first = int(run.read()["count"].sum())
        run.stop()
        batch = run.read()

        assert first > 0
        assert int(batch["count"].sum()) == first
        assert batch.accounting.balanced, str(batch.accounting)
