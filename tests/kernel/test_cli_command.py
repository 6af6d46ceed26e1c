"""A command behind ``--``: measured from its first call to its last, as a person or a script runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.sonde_process import (
    balanced,
    count_of,
    output_of,
    sonde,
    start,
)

# A guest runs what asks the kernel; a measurement takes it many seconds to start.
host_only = pytest.mark.host_only

CALLS = 10_007
GETPPID = f"for _ in range({CALLS}): os.getppid()"
SHELL = ("sh", "-c")


def test_a_command_is_measured_from_its_first_call_to_its_last() -> None:
    output = sonde("top", "syscalls", "--format", "json", "--", "/bin/true")

    assert output.status == 0
    assert count_of(output, "execve") == 1
    assert count_of(output, "exit_group") == 1
    assert balanced(output.accounting)


@host_only
def test_all_that_a_command_starts_is_measured_too() -> None:
    code = f"import os\nfor _ in range(3):\n    if not os.fork():\n        {GETPPID}\n        os._exit(0)\nfor _ in range(3): os.wait()"
    output = sonde("top", "syscalls", "--format", "json", "--", sys.executable, "-c", code)

    assert count_of(output, "getppid") == 3 * CALLS
    assert len({row["pid"] for row in output.final if row["syscall"] == "getppid"}) == 3


@host_only
@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("exit 0", 0)])
def test_the_commands_status_is_sondes(script: str, status: int) -> None:
    assert sonde("top", "syscalls", "--", *SHELL, script).status == status


@host_only
def test_the_command_keeps_its_input_and_output(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    process = start(
        "top", "syscalls", "-o", str(rows), "--", *SHELL, "cat; echo trouble >&2", stdin=subprocess.PIPE
    )
    out, err = process.communicate("through\n", timeout=60)

    assert (process.returncode, out, err) == (0, "through\n", "trouble\n")
    assert "seen " in rows.read_text()


@host_only
def test_a_command_is_shown_once_at_its_end_unless_an_interval_is_given() -> None:
    once = sonde("top", "syscalls", "--format", "json", "--", "sleep", "1.3")
    with start(
        "top", "syscalls", "--format", "json", "--every", "200ms", "--", "cat", stdin=subprocess.PIPE
    ) as often:
        assert often.stdout is not None
        times = set[str]()
        while len(times) < 4:
            times.add(json.loads(often.stdout.readline())["time"])
        assert output_of(often).status == 0

    assert len({row["time"] for row in once.rows}) == 1


@host_only
def test_a_command_that_outlives_the_measurement_is_ended() -> None:
    """It writes where sonde does: both are read to the end, which comes when the command has gone as well."""
    output = sonde("top", "syscalls", "--for", "500ms", "--format", "json", "--", "sleep", "600")

    assert output.status == 0


@host_only
def test_a_command_that_is_not_there_is_a_sentence() -> None:
    output = sonde("top", "syscalls", "--", "no-such-command")

    assert (output.status, output.err) == (127, "sonde: start no-such-command: there is no such command\n")


@host_only
@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o644, "it is no program that may be executed"), (0o755, "the kernel cannot execute it")],
)
def test_a_file_that_is_no_program_is_a_sentence(mode: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("these are words\n")
    path.chmod(mode)
    output = sonde("top", "syscalls", "-o", "/dev/null", "--", str(path))

    assert output.status == 126
    assert output.err.startswith(f"sonde: start {path}: {words}")


@host_only
def test_a_commands_own_126_is_its_own() -> None:
    output = sonde("top", "syscalls", "-o", "/dev/null", "--", *SHELL, "exit 126")

    assert (output.status, output.err) == (126, "")


@host_only
@pytest.mark.parametrize("entries", ["4000000000", "999999999"])
def test_a_command_never_runs_when_the_measurement_cannot_begin(entries: str, tmp_path: Path) -> None:
    """It stands still before its execve until everything is attached, and is gone if that fails.

    The kernel refuses so many; or it would try for minutes, and is not asked.
    """
    output = sonde("top", "syscalls", "--max-entries", entries, "--", "touch", str(tmp_path / "ran"))

    assert output.status == 2
    assert output.err == f"sonde: --max-entries {entries}: the kernel has no room for so many: give fewer\n"
    assert not (tmp_path / "ran").exists()
