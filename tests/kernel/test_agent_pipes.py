"""``sonde run`` whose standard output, or error, nobody reads: it measures and ends all the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.running_agent import agent
from kernel.sonde_process import PATIENCE_S, ready

pytestmark = [pytest.mark.kernel, pytest.mark.host_only]


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """A pipe with no room left."""
    ends = os.pipe()
    os.set_blocking(ends[1], False)
    try:
        for piece in (4096, 1):
            try:
                while True:
                    os.write(ends[1], b"x" * piece)
            except BlockingIOError:
                continue
        os.set_blocking(ends[1], True)
        yield ends
    finally:
        for end in ends:
            os.close(end)


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_what_nobody_reads_keeps_it_from_nothing(tmp_path: Path, stream: str) -> None:
    """The summary goes where somebody reads; warnings that nobody takes are left out."""
    other = tmp_path / "other"
    with full_pipe() as (_, full), other.open("w") as file:
        files = {"stdout": file, "stderr": file} | {stream: full}
        settings = ("prometheus.listen=127.0.0.1:0", "interval=100ms", "otlp.endpoint=http://127.0.0.1:1")
        words = [word for setting in settings for word in ("--set", setting)]
        with ready("run", *words, **files) as process:
            for number in (signal.SIGHUP, signal.SIGTERM):
                process.send_signal(number)
            assert process.wait(timeout=PATIENCE_S) == 0

    assert "syscalls.counts: seen" in other.read_text()


def test_a_summary_that_nobody_takes_is_said(tmp_path: Path) -> None:
    with agent(tmp_path) as running:
        assert running.process.stdout is not None
        running.process.stdout.close()
        running.process.stdout = None
        running.process.send_signal(signal.SIGTERM)
        running.process.wait(timeout=PATIENCE_S)
        told = running.said.read_text()

    assert "the summary was not written: nobody takes it" in told
