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


def stacks_by_thread(file: Path) -> dict[str, list[tuple[str, ...]]]:
    told = json.loads(file.read_text())
    frames = [frame["name"] for frame in told["shared"]["frames"]]
    return {
        profile["name"]: [tuple(frames[number] for number in stack) for stack in profile["samples"]]
        for profile in told["profiles"]
    }
