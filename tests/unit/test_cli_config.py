"""``sonde config`` as a person meets it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def sonde(*arguments: str, text: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: text for name, text in os.environ.items() if not name.startswith(("SONDE_", "OTEL_"))}
    return subprocess.run(
        [sys.executable, "-m", "sonde", *arguments],
        capture_output=True,
        text=True,
        **({"input": text} if text is not None else {"stdin": subprocess.DEVNULL}),
        env={**clean, **environment},
        timeout=120,
    )


def test_the_example_is_right(tmp_path: Path) -> None:
    told = sonde("config", "example")
    assert (told.returncode, told.stderr) == (0, "")
    path = tmp_path / "sonde.toml"
    path.write_text(told.stdout)
    checked = sonde("config", "check", str(path))
    assert (checked.returncode, checked.stderr) == (0, "")
    assert checked.stdout.startswith(f"{path}  is right\n")


def test_every_problem_is_a_line_and_the_status_is_two(tmp_path: Path) -> None:
    path = tmp_path / "sonde.toml"
    path.write_text("interval = 0\nx = 1\n")
    told = sonde("config", "check", str(path), SONDE_LOG_LEVEL="loud")
    assert (told.returncode, told.stdout) == (2, "")
    assert [line.partition(" ")[0] for line in told.stderr.splitlines()] == ["sonde:"] * 3
    assert f"sonde: {path}:1: interval: 0 is wrong" in told.stderr
    assert "environment: SONDE_LOG_LEVEL: there is no level 'loud'" in told.stderr


def test_a_pipe_can_be_checked(tmp_path: Path) -> None:
    told = sonde("config", "check", "-", text='[otlp]\nendpont = "http://there"\n')
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr.startswith("sonde: standard input:2: otlp.endpont: there is no such key: did you mean")
    told = sonde("config", "check", "/dev/stdin", text=sonde("config", "example").stdout)
    assert (told.returncode, told.stderr) == (0, "")
    assert told.stdout.startswith("/dev/stdin  is right\n")


def test_a_pipe_that_is_not_read_is_told() -> None:
    """What was checked is not what was meant."""
    told = sonde("config", "check", text="x = 1\n")
    assert (told.returncode, told.stderr) == (
        0,
        "sonde: standard input is not read: sonde config check - reads it\n",
    )
    assert told.stdout.startswith("no file was given  defaults and environment are right\n")


def test_machines_get_one_object() -> None:
    told = sonde("config", "check", "--json", OTEL_EXPORTER_OTLP_ENDPOINT="http://there:4318")
    found = json.loads(told.stdout)
    assert set(found["exporters"]) == {"otlp", "prometheus"}
    assert "syscalls" in [run["probe"] for run in found["runs"]]


def test_another_word_is_told_the_nearest() -> None:
    told = sonde("config", "exampel")
    assert told.returncode == 2
    assert told.stderr == (
        "sonde config: there is no command 'exampel': did you mean example? valid: check, example\n"
    )


def test_it_needs_neither_numpy_nor_rich() -> None:
    code = (
        "import sys; from sonde.cli.root import run; run(['config', 'check']); "
        "sys.exit(str([name for name in ('numpy', 'rich') if name in sys.modules]))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert told.stderr.strip() == "[]"
