"""How long it takes from Enter to the first line on the screen: ``python -m benchmarks.first_data``.

Each tool shows opens of files on a terminal of its own, while this process opens one every few milliseconds.
"""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import time

from benchmarks.contenders.bcc_tools import environment
from benchmarks.contenders.contender import COMPLAINT, SONDE, TOOLS_CPU
from benchmarks.contenders.lifetime import WITH_US
from benchmarks.event_kinds import BPFTRACE_OPENS
from benchmarks.gathering import Gathering, in_turn
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Kind, Part

LIMIT_S = 20.0
EVERY_S = 0.002
OURS = "sonde trace syscalls"
COMMANDS: dict[str, tuple[str, ...]] = {
    OURS: (str(SONDE), "trace", "syscalls", "--syscall", "openat"),
    "opensnoop": ("opensnoop",),
    "bpftrace printf()": ("bpftrace", "-e", BPFTRACE_OPENS),
    "BCC opensnoop": ("opensnoop-bpfcc",),
    "perf trace": ("perf", "trace", "-a", "-e", "openat"),
    "strace": ("strace", "-f", "-e", "trace=openat", "-p", "{pid}"),
}
WHAT = """\
From a tool's start to the first line on its terminal that shows an open of this benchmark's own process, which opens a file every 2 ms.
"""
COLUMNS = (Column("first_s", "start to first data", "s"),)


def measure(options: Options) -> list[Part]:
    """Start each tool some times."""
    found, begun = Gathering(), time.perf_counter()
    names = [name for name in COMMANDS if options.wants(name)]
    for number in found.rounds(options.rounds(7)):
        for name in in_turn(names, number):
            kind: Kind = "sonde" if name == OURS else "peer"
            first, said = _first_s(COMMANDS[name])
            if first is None:
                found.missing(name, kind, said)
            else:
                found.add(name, kind, "first_s", first)
    pairs = {name: OURS for name in names if name != OURS}
    rows = found.rows(names, COLUMNS)
    spent = time.perf_counter() - begun
    return [
        Part(
            "first",
            "Start to first data",
            WHAT,
            list(COLUMNS),
            rows,
            pairs=pairs,
            plots=["first_s"],
            seconds=spent,
        )
    ]


def _first_s(command: tuple[str, ...]) -> tuple[float | None, str]:
    """Give seconds until it shows an open of ours; None, and what it said, where it never does."""
    ours, theirs = pty.openpty()
    # A process of its own opens files, so that strace stops that and not the clock.
    opener = subprocess.Popen(
        [
            *WITH_US,
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import signal, time\nsignal.alarm(60)\nwhile True: open('/dev/null').close(); time.sleep({EVERY_S})",
        ]
    )
    shown, begun = b"", time.perf_counter()
    try:
        filled = [part.replace("{pid}", str(opener.pid)) for part in command]
        process = subprocess.Popen(
            [*WITH_US, "taskset", "-c", str(TOOLS_CPU), *filled],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=os.environ | environment(),
        )
    except OSError as error:
        return None, str(error)
    finally:
        os.close(theirs)
    # strace names the process when it attaches; its first call has the file's name.
    wanted = b"/dev/null" if command[0] == "strace" else str(opener.pid).encode()
    try:
        while time.perf_counter() - begun < LIMIT_S:
            if select.select([ours], [], [], 0.05)[0]:
                try:
                    shown += os.read(ours, 65536)
                except OSError:
                    break
                if wanted in shown:
                    return time.perf_counter() - begun, ""
        lines = [
            line.strip() for line in shown.decode(errors="replace").splitlines() if COMPLAINT.search(line)
        ]
        return None, f"it said: {lines[0][:160]}" if lines else "it showed nothing"
    finally:
        opener.kill()
        opener.wait()
        _end(process, ours)


def _end(process: subprocess.Popen[bytes], terminal: int) -> None:
    process.send_signal(signal.SIGINT)
    deadline = time.monotonic() + 5
    while process.poll() is None and time.monotonic() < deadline:
        # Who writes to a full terminal waits.
        if select.select([terminal], [], [], 0.02)[0]:
            with contextlib.suppress(OSError):
                os.read(terminal, 65536)
    process.kill()
    process.wait()
    os.close(terminal)


if __name__ == "__main__":
    run_part(measure, __doc__)
