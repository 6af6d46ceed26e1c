"""``sonde run`` starts itself once more, without what reads command lines: the process stays what it was for others."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sonde
from kernel.sonde_process import PATIENCE_S
from sonde.cli import RESUMED

# The same on every kernel: the loader's and the probes' tests run there.
pytestmark = [pytest.mark.kernel, pytest.mark.host_only]

SCRIPT = """#!{python}
import os, sys
os.write(2, b"begun\\n")
from sonde.cli import main, start
if sys.argv[1] == "whole":
    del sys.argv[1]
    start()
del sys.argv[1]
main()
"""
LITTLE = ("--set", "prometheus.listen=127.0.0.1:0", "--set", "probes.syscalls.enabled=false")


@contextmanager
def measuring(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start an agent by this command, and go on once it measures."""
    ready, told = os.pipe()
    command = [*command, *LITTLE, "--format", "json", "--ready-fd", str(told)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    with subprocess.Popen(command, pass_fds=(told,), **pipes) as process:
        os.close(told)
        try:
            assert select.select([ready], [], [], PATIENCE_S)[0]
            yield process
        finally:
            os.close(ready)
            process.terminate()


@pytest.fixture
def script(tmp_path: Path) -> Path:
    """A program of another name that is sonde's command line (``whole``), or calls it amid its own work."""
    path = tmp_path / "watcher"
    path.write_text(SCRIPT.format(python=sys.executable))
    path.chmod(0o755)
    return path


def test_pid_name_and_command_line_stay(script: Path) -> None:
    with measuring([str(script), "whole", "run"]) as process:
        proc = Path(f"/proc/{process.pid}")
        name, words = (proc / "comm").read_text(), (proc / "cmdline").read_bytes().split(b"\0")
        process.terminate()
        out, said = process.communicate(timeout=PATIENCE_S)

    assert name == "watcher\n"
    assert words[1:4] == [os.fsencode(script), b"whole", b"run"]
    assert process.returncode == 0
    assert "processes.events" in json.loads(out)["summary"]["outputs"]
    assert said.count(b"begun") == 2


def test_a_program_of_which_it_is_a_part_is_not_started_again(script: Path) -> None:
    with measuring([str(script), "part", "run"]) as process:
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, said.count(b"begun")) == (0, 1)


def test_a_program_that_came_in_by_a_pipe_is_not_looked_for_again(script: Path) -> None:
    program, source = os.pipe()
    os.write(source, script.read_bytes())
    os.close(source)
    with measuring([sys.executable, "-", "part", "run"], stdin=program) as process:
        os.close(program)
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, said.count(b"begun")) == (0, 1)


def test_words_that_no_variable_holds_are_taken_all_the_same(script: Path) -> None:
    """The kernel takes 128 KiB of one: with more the process goes on as it is."""
    with measuring([str(script), "whole", "run", "--set", f"resource=text={'x' * 131_000}"]) as process:
        process.terminate()
        _, said = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, said.count(b"begun")) == (0, 1)


def test_an_environment_that_was_handed_on_makes_no_agent() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sonde", "--version"],
        capture_output=True, timeout=PATIENCE_S, check=False, env={**os.environ, RESUMED: "1 {}"},
    )  # fmt: skip

    assert (run.returncode, run.stderr) == (0, b"")
    assert run.stdout.startswith(b"sonde ")


def test_bytes_that_are_no_text_come_through() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sonde", "run", "-c", b"/no/\xff"],
        capture_output=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert run.returncode == 2
    assert run.stderr.startswith(rb"sonde: '/no/\udcff': no such file")


def test_debugging_shows_the_log_and_a_traceback() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sonde", "--debug", "run", "-c", "/no/such/file"],
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip

    assert run.returncode == 2
    assert "Traceback" in run.stderr
    assert run.stderr.splitlines()[-1].startswith("sonde: /no/such/file: ")


def test_with_standard_input_and_output_closed_it_measures() -> None:
    """Their numbers are other files' then: the summary goes to standard error."""
    run = subprocess.run(
        ["sh", "-c", '"$@" <&- >&-', "sh", sys.executable, "-m", "sonde", "run", *LITTLE, "--for", "300ms"],
        stderr=subprocess.PIPE, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr
    assert "processes.events: seen" in run.stderr


def test_signals_that_its_parent_has_blocked_end_it(script: Path) -> None:
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    try:
        with measuring([str(script), "whole", "run"]) as process:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            process.terminate()
            process.communicate(timeout=PATIENCE_S)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)

    assert process.returncode == 0


def test_what_was_imported_is_enough_for_the_end(tmp_path: Path) -> None:
    """As when the package is updated, or taken away, while it runs."""
    place = tmp_path / "packages"
    (place / "sonde").parent.mkdir()
    shutil.copytree(
        Path(sonde.__file__).parent, place / "sonde", ignore=shutil.ignore_patterns("test_*", "__pycache__")
    )
    environment = {**os.environ, "PYTHONPATH": str(place)}
    with measuring([sys.executable, "-P", "-m", "sonde", "run"], env=environment) as process:
        place.rename(tmp_path / "gone")
        process.terminate()
        out, said = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 0, said
    assert "processes.events" in json.loads(out)["summary"]["outputs"]
