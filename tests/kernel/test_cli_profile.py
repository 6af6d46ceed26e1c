"""``sonde profile`` on the real kernel: files by their suffix, functions live, and everything accounted for."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path

import pytest

from captures import write
from kernel.sonde_process import PATIENCE_S, balanced, busy, sonde
from kernel.test_cli_terminal import ESCAPE, terminal
from profiles import ROWS, batch_of

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.host_only,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

BUSY = [sys.executable, "-m", "sonde.probes.cpu.workload", "--seconds", "0.7"]
SILENT = [sys.executable, "-c", "for _ in range(300): sum(range(100_000))"]
SPIN = "while True: pass"
"""For what shall have samples however idle the machine is."""


def lines_of(path: Path) -> list[tuple[str, int]]:
    found = [line.rpartition(" ") for line in path.read_text().splitlines()]
    return [(stack, int(weight)) for stack, _, weight in found]


def test_a_file_has_every_sample_of_a_command(tmp_path: Path) -> None:
    path = tmp_path / "x.folded"
    output = sonde("profile", "cpu", "--frequency", "499", "-o", str(path), "--", *BUSY)
    assert 0 == output.status
    stacks = lines_of(path)
    told = re.search(r"seen [\d,]+ = aggregated ([\d,]+) ", output.err)
    assert told is not None
    assert int(told[1].replace(",", "")) == sum(weight for _, weight in stacks) > 0
    assert any(stack.startswith("busy-0;") for stack, _ in stacks)
    assert re.search(
        r"^cpu\.samples: [\d.]+ m?s, [\d,]+ samples, .* at 499 Hz on each CPU, lost \d+$",
        output.err,
        re.MULTILINE,
    )
    assert re.search(
        rf"in {re.escape(str(path))}; sonde itself [\d.]+ m?s of CPU",
        output.err,
        re.MULTILINE,
    )


@pytest.mark.parametrize(
    ("suffix", "beginning"),
    [(".html", b"<!doctype html>"), (".svg", b"<svg "), (".pb.gz", b"\x1f\x8b"), (".speedscope.json", b"{")],
)
def test_the_suffix_says_what_is_written(tmp_path: Path, suffix: str, beginning: bytes) -> None:
    path = tmp_path / f"x{suffix}"
    output = sonde("profile", "cpu", "-o", str(path), "--", *SILENT)
    assert 0 == output.status
    assert path.read_bytes().startswith(beginning)
    assert "" == output.out


def test_a_dash_is_standard_output(tmp_path: Path) -> None:
    output = sonde("profile", "cpu", "--format", "folded", "-o", "-", "--", *BUSY, cwd=tmp_path)
    assert any(line.startswith("busy-0;") for line in output.out.splitlines())
    assert [] == os.listdir(tmp_path)


def test_what_a_file_is_called_is_checked_before_anything_is_measured(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    output = sonde("profile", "cpu", "-o", str(tmp_path / "x.png"), "--", "touch", str(marker))
    assert 2 == output.status
    assert "x.png does not say what to write: end it with .html, .svg, .folded" in output.err
    assert not marker.exists()
    assert not (tmp_path / "x.png").exists()


def test_functions_as_json_end_with_the_accounting() -> None:
    output = sonde("profile", "cpu", "--format", "json", "--", *SILENT)
    assert ["time", "function", "module", "kind", "self", "total"] == list(output.rows[0])
    assert balanced(output.accounting)
    assert output.accounting["aggregated"] == sum(row["self"] for row in output.final)
    assert all(row["self"] <= row["total"] for row in output.final)


def test_one_process_by_the_short_option() -> None:
    output = sonde("profile", "cpu", "-p", str(os.getpid()), "--for", "200ms", "--format", "json")
    assert 0 == output.status
    assert balanced(output.accounting)


def test_a_recording_is_the_same_profile_later(tmp_path: Path) -> None:
    path, folded = tmp_path / "cpu.arrow", tmp_path / "x.folded"
    recorded = sonde("record", "cpu.samples", "-o", str(path), "--", *BUSY)
    assert 0 == recorded.status, recorded.err
    info = json.loads(sonde("report", str(path), "--info", "--format", "json").out)["outputs"][0]
    assert ("count", 99.0) == (info["weight"], info["frequency_hz"])
    assert "cpu.samples.frames" == info["frames"]
    report = sonde("report", str(path), "-o", str(folded))
    assert 0 == report.status, report.err
    assert info["accounting"]["aggregated"] == sum(weight for _, weight in lines_of(folded))


def test_a_terminal_is_redrawn_with_what_there_is_so_far() -> None:
    with busy(SPIN), terminal("profile", "cpu", "--every", "200ms") as window:
        window.read("SELF")
        window.read("(so far)")
        window.type(b"\x03")
        text = ESCAPE.sub("", window.finish())
    assert "SELF" in text
    assert re.search(r"[\d,]+ samples? · [\d.,]+ a second · lost \d+ · sonde itself [\d.]+ m?s of CPU", text)
    assert "(so far)" in text


def test_a_terminal_is_told_how_a_file_comes_on_in_one_line(tmp_path: Path) -> None:
    """A line that took two would not be gone when the next one comes."""
    path = tmp_path / "x.svg"
    options = ("--every", "100ms", "-o", str(path))
    with terminal("profile", "cpu", "-p", str(os.getpid()), *options, columns=40) as window:
        text = window.read("\r\x1b[K", count=3)
        window.type(b"\x03")
        end = window.finish()
    assert f"in {path}; sonde itself" in end
    lines = text.split("\r\x1b[K")[1:]
    assert lines[0].endswith("…")
    assert all(len(line + "^C") <= 40 for line in lines)


def test_a_terminal_is_told_what_is_in_a_file_in_lines_that_fit(tmp_path: Path) -> None:
    more = {"shown": ("pid", "comm", "count"), "weight": "count", "frames": "cpu.samples.frames"}
    capture = write(tmp_path / "cpu.arrow", [batch_of(ROWS)], **more)
    with terminal("report", str(capture), "-o", str(tmp_path / "x.svg"), columns=40) as window:
        lines = window.finish().split("\r\n")
    told = " ".join(line.strip() for line in lines)
    assert "seen 159 = aggregated 150 + filtered 7 + lost 2 (skipped 2)" in told
    assert "broken off 7.3 %: python3.11 7.3 % (built without frame pointers, so callers are missing)" in told
    assert all(len(line) <= 40 for line in lines if line.startswith("  "))


def test_a_terminal_that_goes_away_ends_it_and_the_file_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.folded"
    measured = ("profile", "cpu", "--every", "100ms", "-o", str(path))
    with busy(SPIN) as pid, terminal(*measured, "-p", str(pid)) as window:
        lines = 3
        while not re.search(r" · [1-9][\d,]* samples? · ", window.read("\r\x1b[K", count=lines)):
            lines += 1
        window.hang_up()
        assert window.process.wait(timeout=PATIENCE_S) == 0
    assert sum(weight for _, weight in lines_of(path)) > 0


def test_a_terminal_gets_no_bytes_that_are_no_text() -> None:
    with terminal("profile", "cpu", "--for", "1s", "--format", "pprof") as window:
        text = window.finish()
    assert "--format pprof is no text for a terminal: give -o FILE" in text
    assert 2 == window.process.returncode


def test_probes_without_stacks_say_what_works() -> None:
    output = sonde("profile", "syscalls")
    assert 2 == output.status
    assert "probe syscalls has no stacks, which profile needs: try sonde top syscalls" in output.err


def test_who_ended_a_wait_is_shown_on_request(tmp_path: Path) -> None:
    """By a live table, and from a recording as a table and as stacks; unasked nobody is."""
    capture, path, column = tmp_path / "x.arrow", tmp_path / "x.folded", re.compile("WAKER COMM +STACK")
    command = ("--", "sh", "-c", "(sleep 0.05; echo) | cat")
    assert column.search(sonde("top", "offcpu", "--waker", *command).out)
    assert not column.search(sonde("top", "offcpu", *command).out)

    assert 0 == sonde("record", "offcpu", "--waker", "-o", str(capture), *command).status
    assert column.search(sonde("report", str(capture), "--view", "top").out)
    assert 0 == sonde("report", str(capture), "-o", str(path)).status
    assert any("[pipe];[woken by " in stack for stack, _ in lines_of(path))
