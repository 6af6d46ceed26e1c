"""Ten tasks, asked of each tool: what has to be typed, how long it takes, whether it answers: ``python -m benchmarks.ease``."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks.contenders import bcc_tools
from benchmarks.contenders.contender import BESIDE, COMPLAINT, SONDE
from benchmarks.contenders.lifetime import WITH_US, with_us_within
from benchmarks.contenders.tasks import TASKS, TOOLS, Task
from benchmarks.gathering import Gathering
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Kind, Part

LIMIT_S = 30
PORT = 19464
COLUMNS = (
    Column("seconds", "from Enter to the answer, of which one second is measured", "s"),
    Column("characters", "to be typed", "characters"),
)
BUSY = """
import os, signal, socket, subprocess, time
signal.alarm(3600)
subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
server = socket.create_server(("127.0.0.1", 0))
while True:
    for _ in range(50):
        open("/dev/null").close()
        os.path.exists("/nonexistent")
        try:
            open("/nonexistent")
        except OSError:
            pass
    subprocess.run(["/bin/true"])
    client = socket.create_connection(server.getsockname())
    server.accept()[0].close()
    client.close()
    closed = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    closed.sendto(b"x", ("127.0.0.1", 9))
    time.sleep(0.02)
"""


def what() -> str:
    """Say what the tasks are."""
    listed = "\n".join(f"{number}. {task.title}" for number, task in enumerate(TASKS, 1))
    return (
        "Each tool is asked in the shortest way that its own documentation has, which is one line, beside a process that is busy with all of it. What is typed "
        f"is in `benchmarks/contenders/tasks.py`; where a tool is missing it has no way that fits a few lines, or did not answer here.\n\n{listed}\n"
    )


@contextmanager
def busy() -> Iterator[int]:
    """Run a process that does a little of everything, in a network namespace of its own."""
    command = [*WITH_US, "unshare", "--net", sys.executable, "-c", BUSY]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


def measure(options: Options) -> list[Part]:
    """Ask every tool everything."""
    found, begun = Gathering(), time.perf_counter()
    tools = [tool for tool in TOOLS if options.wants(tool)]
    with busy() as pid, tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        for number, task in enumerate(TASKS[:2] if options.quick else TASKS, 1):
            for tool in tools:
                _ask(tool, task, number, {"pid": str(pid), "scratch": scratch, "port": str(PORT)}, found)
    return [
        Part(
            "ease",
            "Ten tasks",
            what(),
            list(COLUMNS),
            found.rows(tools, COLUMNS),
            across="task",
            seconds=time.perf_counter() - begun,
        )
    ]


def _ask(tool: str, task: Task, number: int, places: dict[str, str], into: Gathering) -> None:
    kind: Kind = "sonde" if tool == "sonde" else "peer"
    command = task.commands.get(tool, "")
    if not command:
        return
    filled, wanted = _filled(command, places), _filled(task.wanted, places)
    begun = time.perf_counter()
    # One task watches an interface: that of the busy process, not the machine's.
    done = _run(filled, entering=["nsenter", f"--net=/proc/{places['pid']}/ns/net"])
    if done is None:
        return into.missing(tool, kind, f"no answer in {LIMIT_S} s", at=number)
    spent = time.perf_counter() - begun
    # Of some the status says nothing: opensnoop ends with 1 after an answer, who is interrupted with 124 or 130.
    if not re.search(wanted, done.stdout, re.MULTILINE):
        return into.missing(tool, kind, _complaint(done), at=number)
    into.add(tool, kind, "seconds", spent, at=number)
    into.add(tool, kind, "characters", len(command), at=number)
    return None


def _filled(text: str, places: dict[str, str]) -> str:
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def _run(command: str, *, entering: list[str]) -> subprocess.CompletedProcess[str] | None:
    """Run a command of a shell; None where it does not end: then it and all that it started are killed."""
    done = subprocess.run(
        [*with_us_within(LIMIT_S), *entering, "sh", "-c", command],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
        start_new_session=True,
        env=os.environ
        | bcc_tools.environment()
        | {"PATH": f"{SONDE.parent}:{os.environ['PATH']}", "COLUMNS": "200"},
    )
    # With what it has not ended in time timeout kills itself.
    return None if done.returncode == -signal.SIGKILL else done


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in (done.stderr + done.stdout).splitlines() if line.strip()]
    complaints = (
        [line for line in lines if COMPLAINT.search(line) and not BESIDE.search(line)]
        or lines[-1:]
        or ["nothing"]
    )
    return f"status {done.returncode}: {complaints[0][:160]}"


if __name__ == "__main__":
    run_part(measure, __doc__)
