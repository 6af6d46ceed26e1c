"""The programs in README.md run as they are printed, and what it promises of commands is there."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernel.compiled import ROOT
from kernel.plain import example
from kernel.sonde_process import PATIENCE_S, busy

pytestmark = [pytest.mark.beside, pytest.mark.host_only]

README = ROOT / "README.md"
BUSY = "import os\nwhile True: os.close(os.open('/dev/null', os.O_RDONLY))"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("at", range(len(blocks("python"))))
def test_programs_run_as_printed(tmp_path: Path, at: int) -> None:
    (tmp_path / "examples").mkdir()
    shutil.copyfile(example("trace_syscall"), tmp_path / "examples" / "trace_syscall.bpf.o")
    (tmp_path / "examples" / "trace_syscall.bpf.o").chmod(0o644)
    with busy(BUSY) as pid:
        command = [sys.executable, "-c", blocks("python")[at]]
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    if at == 0:
        assert re.search(rf"^ *{pid} +openat +[1-9]\d*$", done.stdout, re.MULTILINE)


def test_first_program_has_ten_lines() -> None:
    assert len([line for line in blocks("python")[0].splitlines() if line]) <= 10


def test_first_two_commands_are_the_makefile_s() -> None:
    commands = [line.split("#")[0].strip() for line in blocks("sh")[0].splitlines()]
    assert commands == ["make demo", "make test"]
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test", "wheel", "bench"} <= set(targets)
