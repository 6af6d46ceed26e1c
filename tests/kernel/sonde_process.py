"""The command line as a process of its own, and processes for it to measure."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

SONDE = (sys.executable, "-m", "sonde")
PATIENCE_S = 180
ROW = ["time", "pid", "comm", "syscall", "error", "count",
       "duration_sum_ns", "duration_p50_ns", "duration_p99_ns", "duration_max_ns"]  # fmt: skip
"""What a row of JSON has, in this order."""


@dataclass(frozen=True)
class Output:
    """What a run of sonde wrote, and its exit status."""

    status: int
    out: str
    err: str
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The lines of JSON but the last, which is the accounting."""
        return self.lines[:-1]

    @property
    def accounting(self) -> dict[str, Any]:
        """The last line of JSON."""
        found: dict[str, Any] = self.lines[-1]["accounting"]
        return found

    @property
    def final(self) -> list[dict[str, Any]]:
        """The rows of the last reading."""
        return [row for row in self.rows if row["time"] == self.rows[-1]["time"]] if self.rows else []


def count_of(output: Output, syscall: str, error: str | None = None) -> int:
    """Add up the calls of one name, by all processes that were measured."""
    return sum(row["count"] for row in output.final if row["syscall"] == syscall and row["error"] == error)


def output_of(process: subprocess.Popen[str], before: str = "") -> Output:
    """Wait for the end; a traceback is an error whatever the test is about. ``before`` is what was read already."""
    out, err = process.communicate(timeout=PATIENCE_S)
    out = before + out
    assert "Traceback" not in err, err
    is_json = all(line.startswith("{") for line in out.splitlines())
    return Output(
        process.returncode, out, err, [json.loads(line) for line in out.splitlines()] if is_json else []
    )


def sonde(*arguments: str, **options: Any) -> Output:
    """Run it to its end."""
    return output_of(start(*arguments, **options))


def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
    """Start it, and do not wait."""
    given: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, **options}
    return subprocess.Popen([*SONDE, *arguments], **given)


@contextmanager
def ready(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """Start it, and go on once it says that it is attached; it is killed at the end if the test has not waited."""
    read_end, write_end = os.pipe()
    process = start(*arguments, "--ready-fd", str(write_end), pass_fds=(write_end,), **options)
    os.close(write_end)
    try:
        if not select.select([read_end], [], [], PATIENCE_S)[0] or not os.read(read_end, 2):
            raise AssertionError(f"sonde was never ready: {output_of(process)}")
        yield process
    finally:
        os.close(read_end)
        if process.poll() is None:
            process.kill()
            process.communicate()


class Child:
    """A Python process that runs its code each time it is told to, and lives until it is told to end.

    It has started when this is made: what Python does by itself is behind it.
    """

    def __init__(self, code: str) -> None:
        around = (
            "import os, sys\ncode = compile(sys.argv[1], 'code', 'exec')\nprint('ready', flush=True)\n"
            "for _ in sys.stdin:\n    exec(code)\n    print('done', flush=True)\n"
        )
        self.process = subprocess.Popen(
            [sys.executable, "-c", around, code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.pid = self.process.pid
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"

    def run(self) -> None:
        """Let it run its code, and wait until it has."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "done\n"

    def end(self) -> None:
        """Let it go, and wait for it."""
        self.process.communicate(timeout=PATIENCE_S)


def line_with(process: subprocess.Popen[str], words: str) -> str:
    """Read what a process prints until a line has these words; that line, and all before it."""
    assert process.stdout is not None
    text = ""
    while words not in text:
        line = process.stdout.readline()
        assert line, f"it ended without {words!r}: {text}"
        text += line
    return text


@contextmanager
def child(code: str) -> Iterator[Child]:
    """A child that is gone at the end."""
    started = Child(code)
    try:
        yield started
    finally:
        if started.process.poll() is None:
            started.process.kill()
        started.process.communicate()


CALLS = (
    "import os, time\nwhile True: os.getppid(); os.getuid(); os.getgid(); os.getpgid(0); time.sleep(0.001)"
)


@contextmanager
def busy(code: str = CALLS) -> Iterator[int]:
    """A Python process that does something for as long as it and this one live, else system calls of several kinds; gives its pid.

    It has begun with it by then.
    """
    read_end, write_end = os.pipe()
    begins = f"import os\nos.close({write_end})\n{code}"
    command = ["setpriv", "--pdeathsig", "KILL", sys.executable, "-c", begins]
    started = subprocess.Popen(command, pass_fds=(write_end,))
    os.close(write_end)
    try:
        # Nothing is written: it is the end of the pipe when all have closed the other one.
        assert os.read(read_end, 1) == b""
        assert started.poll() is None
        yield started.pid
    finally:
        os.close(read_end)
        started.kill()
        started.wait()


@contextmanager
def standing_still(process: subprocess.Popen[str]) -> Iterator[None]:
    """A process that does nothing for the time of a block: what it should read stays where it is."""
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE_S
    while state_of(process.pid) != "T":
        assert time.monotonic() < deadline
        time.sleep(0.005)
    try:
        yield
    finally:
        process.send_signal(signal.SIGCONT)


def descendants() -> list[int]:
    """Processes that this one has started and that are there."""
    with open(f"/proc/{os.getpid()}/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def state_of(pid: int) -> str:
    """The letter of a process's state; X where it is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):  # the second where it goes between opening and reading
        return "X"


def is_alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return state_of(pid) not in ("Z", "X")


def wait_until_gone(pids: Sequence[int], seconds: float = 60) -> bool:
    """Whether all of them are gone within the time."""
    deadline = time.monotonic() + seconds
    while any(map(is_alive, pids)):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def balanced(accounting: dict[str, object]) -> bool:
    """Whether the equation holds, in the figures as they are printed."""
    figures = {name: value for name, value in accounting.items() if isinstance(value, int)}
    lost = accounting["lost"]
    assert isinstance(lost, dict)
    parts = ("delivered", "aggregated", "filtered", "sampled_out")
    return figures["seen"] == sum(figures[name] for name in parts) + sum(lost.values())
