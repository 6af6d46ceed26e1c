"""Processes that are gone before anybody could look: a profile names them, and their functions, all the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from kernel.profiled import programs
from kernel.sonde_process import output_of, ready
from sonde.probe import Selection
from sonde.probes import probe
from sonde.records import generations
from sonde.run import Run

# The programs are compiled here, and the frames are those of this machine's libraries.
pytestmark = pytest.mark.host_only

PROCESSES, TOGETHER, MILLISECONDS, FREQUENCY = 50, 5, 20, 999


def test_processes_of_20_ms_are_named(tmp_path: Path) -> None:
    """Fifty of them, a few at a time: each is there under its pid, its program's name, and its functions' names."""
    brief, file = (
        programs.compiled("brief", "brief.c", *programs.WITH_FRAME_POINTERS),
        tmp_path / "out.speedscope.json",
    )
    pids = []
    # Whatever else runs here is not theirs, and may be more than is kept.
    ours = ("--pid", str(os.getpid()), "--children")
    with ready("profile", "cpu", "--frequency", str(FREQUENCY), "-o", str(file), *ours) as process:
        for _ in range(PROCESSES // TOGETHER):
            some = [subprocess.Popen([brief, str(MILLISECONDS)]) for _ in range(TOGETHER)]
            pids += [each.pid for each in some]
            assert [each.wait(60) for each in some] == [0] * TOGETHER
        process.send_signal(signal.SIGINT)
        assert output_of(process).status == 0

    stacks = stacks_by_thread(file)
    for pid in pids:
        found = stacks[f"{brief.name[:15]} ({pid})"]
        assert any(("main", "brief_work") == stack[-2:] for stack in found), found
        assert not any("unknown" in frame for stack in found for frame in stack), found


def test_of_more_processes_than_there_are_rows_the_functions_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Rows lose whose they are, and not their stacks: what forty programs did is told as what one does."""
    monkeypatch.setattr(generations, "ROWS_MAX", 24)
    brief = programs.compiled("brief", "brief.c", *programs.WITH_FRAME_POINTERS)
    chosen = Selection(pid=os.getpid(), children=True)
    with Run(probe("cpu"), "samples", values={"frequency": FREQUENCY}, selection=chosen) as run:
        for _ in range(8):
            some = [subprocess.Popen([brief, str(MILLISECONDS)]) for _ in range(TOGETHER)]
            assert [each.wait(60) for each in some] == [0] * TOGETHER
            run.read()
        run.stop()
        batch = run.read()

    assert batch.accounting.balanced
    theirs = [row for row in batch.rows() if row["comm"] == brief.name[:15]]
    work = sum(row["count"] for row in theirs if "main;brief_work" in row["stack"])
    of_nobody = sum(row["count"] for row in theirs if row["pid"] is None)
    assert work > 0.8 * 8 * TOGETHER * MILLISECONDS * 0.7
    assert of_nobody > work / 10
    assert sum(row["count"] for row in batch.rows() if row["is_other"]) < work / 4


def stacks_by_thread(file: Path) -> dict[str, list[tuple[str, ...]]]:
    told = json.loads(file.read_text())
    frames = [frame["name"] for frame in told["shared"]["frames"]]
    return {
        profile["name"]: [tuple(frames[number] for number in stack) for stack in profile["samples"]]
        for profile in told["profiles"]
    }
