"""What a person sees: a terminal that is redrawn in place, and what stays on it."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from kernel.sonde_process import PATIENCE_S, SONDE, busy, child

# The same on every kernel, and a virtual machine takes long for each of them.
pytestmark = pytest.mark.host_only

ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
COLOUR = re.compile(r"\x1b\[(?:\d+;)*3\dm")


class Terminal:
    """A process in a terminal of its own, and everything that it wrote there."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self.text = process, ""
        self._master = master

    def read(self, words: str, *, count: int = 1, seconds: float = PATIENCE_S) -> str:
        """Read until the words were written so many times; gives all that was written."""
        deadline = time.monotonic() + seconds
        while self.text.count(words) < count:
            assert time.monotonic() < deadline, f"{words!r} never came: {self.text!r}"
            self._read(0.2)
        return self.text

    def _read(self, seconds: float) -> bool:
        if not select.select([self._master], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # EIO: nobody has it open any more
            return False
        self.text += data.decode(errors="replace")
        return bool(data)

    def finish(self) -> str:
        """Read to the end; gives all that was written."""
        while self._read(1) and self.process.poll() is None:
            continue
        while self._read(0.1) and select.select([self._master], [], [], 0)[0]:
            continue
        self.process.wait(timeout=PATIENCE_S)
        return self.text

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def hang_up(self) -> None:
        """Close the window: the process gets SIGHUP, and what it writes there from now on fails."""
        if self._master >= 0:
            os.close(self._master)
            self._master = -1


@contextmanager
def terminal(*arguments: str, rows: int = 24, columns: int = 80, **more: str) -> Iterator[Terminal]:
    """Start sonde in a terminal of this size."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    environment = {
        name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "COLUMNS", "LINES")
    }
    options: dict[str, Any] = {
        "env": {**environment, "TERM": "xterm-256color", **more},
        "start_new_session": True,
    }

    def own_terminal() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [*SONDE, *arguments], stdin=slave, stdout=slave, stderr=slave, preexec_fn=own_terminal, **options
    )
    os.close(slave)
    window = Terminal(process, master)
    try:
        yield window
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        window.hang_up()


def screens(text: str) -> list[str]:
    """The pages that were drawn on the other screen, without escape sequences."""
    # The terminal itself echoes what is typed.
    drawn = text.partition(ENTER)[2].partition(LEAVE)[0].replace("^C", "")
    return [ESCAPE.sub("", page) for page in drawn.split("\x1b[H")[1:]]


def widest(page: str) -> int:
    """How long the longest line of a page is."""
    return max(len(line.rstrip()) for line in page.replace("\r", "").split("\n"))


def lines(text: str) -> list[str]:
    return [line.rstrip() for line in ESCAPE.sub("", text).replace("\r", "").split("\n")]


def test_top_redraws_in_place_and_its_last_table_stays() -> None:
    with terminal("top", "syscalls", "--every", "200ms") as shown:
        shown.read("(so far)", count=3)
        shown.type(b"\x03")
        text = shown.finish()
    last = lines(text.partition(LEAVE)[2])

    assert shown.process.returncode == 0
    assert text.count(ENTER) == text.count(LEAVE) == 1
    assert last[0].startswith("sonde top syscalls --every 200ms")
    assert last[1].split() == ["PID", "COMM", "SYSCALL", "ERROR", "COUNT", "SUM", "P50", "P99", "MAX"]
    equation = next(line for line in last if line.startswith("seen "))
    assert "(so far)" not in equation
    assert "filtered: sonde's own (--own counts them)" in last
    assert COLOUR.search(text)


def test_a_page_fits_its_terminal() -> None:
    for rows, columns in ((24, 80), (50, 200), (10, 60)):
        with terminal("top", "syscalls", "--every", "200ms", rows=rows, columns=columns) as shown:
            shown.read("(so far)", count=2)
            shown.type(b"\x03")
            text = shown.finish()
        for page in screens(text):
            assert len(page.split("\n")) <= rows
            assert widest(page) <= columns
        assert len(lines(text.partition(LEAVE)[2])) <= rows + 2


def test_a_window_that_changes_its_size_changes_the_next_page() -> None:
    with terminal("top", "syscalls", "--every", "200ms", rows=50, columns=120) as shown:
        shown.read("(so far)", count=2)
        shown.resize(12, 60)
        # Pages that were drawn before may have waited to be read.
        while widest(screens(shown.text)[-2]) > 60:
            shown.read("(so far)", count=shown.text.count("(so far)") + 1)
        shown.type(b"\x03")
        pages = screens(shown.finish())

    assert widest(pages[-1]) <= 60
    assert pages[-1].count("\n") < 12


def test_no_color_means_no_colour() -> None:
    with terminal("top", "syscalls", "--for", "500ms", NO_COLOR="1") as shown:
        text = shown.finish()
    with busy(), terminal("trace", "syscalls", "--limit", "20", NO_COLOR="1") as traced:
        traced_text = traced.finish()

    assert not COLOUR.search(text)
    assert ESCAPE.sub("", traced_text.replace("\x1b[K", "")) == traced_text.replace("\x1b[K", "")


def test_a_dumb_terminal_gets_lines() -> None:
    with terminal("top", "syscalls", "--for", "500ms", TERM="dumb") as shown:
        text = shown.finish()

    assert "\x1b" not in text
    assert "seen " in text


def test_histograms_are_redrawn_too() -> None:
    with terminal("hist", "syscalls", "--every", "200ms") as shown:
        shown.read("(so far)", count=3)
        shown.process.send_signal(signal.SIGTERM)
        text = shown.finish()

    assert shown.process.returncode == 0
    assert all(len(page.replace("\r", "").split("\n")) <= 24 for page in screens(text))
    assert "█" in text.partition(LEAVE)[2]


def test_the_output_of_a_command_is_not_painted_over() -> None:
    """It has the terminal until it ends; then the table comes."""
    with terminal("top", "syscalls", "--", "sh", "-c", "echo one; sleep 1.2; echo two") as shown:
        text = shown.finish()

    assert ENTER not in text
    assert lines(text)[:2] == ["one", "two"]
    assert any(line.startswith("seen ") for line in lines(text)[2:])


def test_records_are_lines_cut_to_the_terminal() -> None:
    with busy(), terminal("trace", "syscalls", "--limit", "50", columns=60) as shown:
        text = shown.finish()
    drawn = lines(text)

    assert drawn[0].split()[:4] == ["TIME", "PID", "TID", "COMM"]
    assert max(len(line) for line in drawn[:51]) <= 60
    assert COLOUR.search(text)


def test_a_measurement_that_ends_by_itself_gives_the_terminal_back() -> None:
    with (
        child("pass") as made,
        terminal("top", "syscalls", "--pid", str(made.pid), "--every", "100ms") as shown,
    ):
        shown.read("nothing so far")
        made.end()
        text = shown.finish()

    assert shown.process.returncode == 0
    assert text.count(ENTER) == text.count(LEAVE)


def test_ctrl_c_ends_the_command_too_and_the_status_is_0() -> None:
    """The terminal sends it to both; what was measured is shown, and that is a success."""
    with terminal("top", "syscalls", "--", "sh", "-c", "echo begun; sleep 600") as shown:
        shown.read("begun")
        shown.type(b"\x03")
        text = shown.finish()

    assert shown.process.returncode == 0
    assert any(line.startswith("seen ") for line in lines(text))
    assert any(line.split()[1:2] == ["sh"] for line in lines(text))
