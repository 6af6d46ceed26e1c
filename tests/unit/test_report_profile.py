"""``sonde report --view profile``: captured stacks as functions, flame graphs and files, without the kernel."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from captures import calls, write
from profiles import ROWS, TOTAL, batch_of, profile_of
from sonde.exporters.profiles.folded import folded
from sonde.records.capture.header import OutputHeader

MORE: dict[str, Any] = {
    "shown": ("pid", "comm", "count"),
    "weight": "count",
    "frequency_hz": 99.0,
    "frames": "cpu.samples.frames",
    "request": "-- make -j2",
}
SUFFIXES = (".html", ".svg", ".folded", ".pb.gz", ".speedscope.json")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    batches = [batch_of(ROWS[:2], final=False, seconds=1), batch_of(ROWS)]
    return write(tmp_path_factory.mktemp("captures") / "cpu.arrow", batches, **MORE)


@pytest.fixture(scope="module")
def blocked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    batch = batch_of(ROWS, name="offcpu.blocked", weight="blocked_ns")
    more = {"weight": "blocked_ns", "frequency_hz": 0.0, "frames": "offcpu.blocked.frames"}
    return write(tmp_path_factory.mktemp("captures") / "offcpu.arrow", [batch], **{**MORE, **more})


def report(*arguments: str | Path, status: int = 0) -> subprocess.CompletedProcess[bytes]:
    run = subprocess.run(
        [sys.executable, "-m", "sonde", "report", *map(str, arguments)],
        capture_output=True,
        env={**os.environ, "TZ": "UTC"},
        check=False,
    )
    assert b"Traceback" not in run.stderr, run.stderr
    assert status == run.returncode, run.stderr
    return run


def test_the_first_view_of_stacks_is_the_hottest_functions(capture: Path) -> None:
    lines = report(capture).stdout.decode().splitlines()
    assert lines[0].startswith("12:00:10  cpu.samples on ")
    assert "150 samples" in lines[1]
    assert ["SELF", "TOTAL", "FUNCTION", "BINARY", "KIND"] == lines[2].split()
    assert ["46.7", "%", "46.7", "%", "seventy", "work", "native"] == lines[3].split()
    assert "seen 159 = aggregated 150 + filtered 7 + lost 2 (skipped 2)" in lines
    assert any(line.startswith("broken off 7.3 %: python3.11 7.3 % (built without") for line in lines)
    assert lines[-1].startswith("to see callers: build with -fno-omit-frame-pointer")


def test_functions_are_ordered_by_what_was_asked_for(capture: Path) -> None:
    lines = report(capture, "--sort", "total", "--limit", "1").stdout.decode().splitlines()
    assert lines[3].split()[4] in ("_start", "main")
    assert any("more functions (--limit 0 shows all)" in line for line in lines)


def test_machines_get_weights_and_the_accounting_last(capture: Path, blocked: Path) -> None:
    *rows, last = map(json.loads, report(capture, "--format", "json").stdout.splitlines())
    assert TOTAL == sum(row["self"] for row in rows) == last["accounting"]["aggregated"]
    assert {"time", "function", "module", "kind", "self", "total"} == set(rows[0])
    assert ("seventy", "/srv/bin/work", "native", 70) == tuple(
        rows[0][name] for name in ("function", "module", "kind", "self")
    )
    *rows, last = map(json.loads, report(blocked, "--format", "json").stdout.splitlines())
    assert 70_000_000 == rows[0]["self_ns"]


def test_tables_for_other_programs(capture: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(report(capture, "--format", "csv").stdout.decode())))
    assert ("seventy", "70") == (rows[0]["function"], rows[0]["self"])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_suffix_says_what_is_written(capture: Path, blocked: Path, tmp_path: Path, suffix: str) -> None:
    beginnings = {
        ".html": b"<!doctype html>",
        ".svg": b"<svg ",
        ".folded": b"ksoftirqd/0;kthread_[k]",
        ".pb.gz": b"\x1f\x8b",
        ".speedscope.json": b'{"$schema":',
    }
    for file in (capture, blocked):
        run = report(file, "-o", tmp_path / f"X{suffix}")
        assert (tmp_path / f"X{suffix}").read_bytes().startswith(beginnings[suffix])
        told = run.stderr.decode()
        assert "seen 159 = aggregated 150 + filtered 7 + lost 2 (skipped 2)" in told
        assert "broken off 7.3 %: python3.11 7.3 %" in told
        assert b"" == run.stdout


def test_a_capture_gives_the_same_file_as_the_running_probe(capture: Path) -> None:
    assert folded(profile_of()) == report(capture, "--format", "folded").stdout


def test_time_that_was_waited_keeps_its_unit(blocked: Path, tmp_path: Path) -> None:
    report(blocked, "-o", tmp_path / "x.pb.gz")
    assert b"contentions" in gzip.decompress((tmp_path / "x.pb.gz").read_bytes())
    lines = report(blocked).stdout.decode().splitlines()
    assert "150 ms in all · 150 times · lost 2" == lines[1]


def test_readings_are_shown_one_by_one(capture: Path) -> None:
    text = report(capture, "--every", "0.5s", "--limit", "3").stdout.decode()
    assert [1, 1] == [text.count("12:00:01"), text.count("12:00:10")]
    assert "70 samples" in text


def test_what_to_do_about_broken_stacks_is_said_once(tmp_path: Path) -> None:
    batches = [batch_of(final=False, seconds=1), batch_of()]
    text = report(write(tmp_path / "cpu.arrow", batches, **MORE), "--every", "0.5s").stdout.decode()
    assert (2, 1) == (text.count("\nbroken off 7.3 %"), text.count("\nto see callers: "))


def test_a_name_that_says_nothing_is_one_sentence(capture: Path, tmp_path: Path) -> None:
    run = report(capture, "-o", tmp_path / "x.flame", status=2)
    (line,) = run.stderr.decode().splitlines()
    assert "x.flame does not say what to write: end it with .html, .svg, .folded, .pb.gz" in line
    assert not (tmp_path / "x.flame").exists()


def test_what_does_not_go_together_is_refused(capture: Path, tmp_path: Path) -> None:
    assert (
        b"it goes with profile, not with top"
        in report(capture, "--view", "top", "-o", tmp_path / "x.svg", status=2).stderr
    )
    assert b"--sort" in report(capture, "--sort", "pid", status=2).stderr
    assert b"not with profile" in report(capture, "--delta", status=2).stderr
    for flag, value in (("--sort", "total"), ("--limit", "3"), ("--every", "1s")):
        refused = report(capture, flag, value, "-o", tmp_path / "x.svg", status=2)
        assert f"sonde: {flag}: it does not go with --format svg\n" == refused.stderr.decode()
    assert not (tmp_path / "x.svg").exists()
    stream = write(tmp_path / "calls.arrow", [calls(3, final=True)])
    assert b"--view trace works" in report(stream, "-o", tmp_path / "x.svg", status=2).stderr


def test_an_older_captures_stacks_are_no_profile(tmp_path: Path) -> None:
    """Without a weight nothing says what to add up; the rows are there all the same."""
    file = write(tmp_path / "old.arrow", [batch_of(ROWS)], shown=("pid", "comm", "count"))
    assert b"PID" in report(file).stdout
    assert b"--view top works" in report(file, "--view", "profile", status=2).stderr


def test_what_is_in_a_capture_names_no_companion(capture: Path) -> None:
    text = report(capture, "--info").stdout.decode()
    assert "cpu.samples: " in text
    assert "frames" not in text
    found = json.loads(report(capture, "--info", "--format", "json").stdout)
    assert ["cpu.samples"] == [each["name"] for each in found["outputs"]]


def test_rows_of_stacks_go_to_other_programs_whole(capture: Path, tmp_path: Path) -> None:
    import pyarrow as pa

    report(capture, "-o", tmp_path / "x.arrow")
    table = pa.ipc.open_stream((tmp_path / "x.arrow").read_bytes()).read_all()
    assert "_start;main;seventy" in table.column("stack").to_pylist()


def test_headers_of_outputs_have_defaults() -> None:
    assert ("", 0.0, "", "") == tuple(
        getattr(OutputHeader("a", True, ()), name) for name in ("weight", "frequency_hz", "frames", "of")
    )
