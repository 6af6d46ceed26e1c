"""``sonde run`` as a process, for tests that look at its pages and at what it says."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kernel.sonde_process import PATIENCE_S, Child, start
from sonde.agent.board import FRESH_S

CALLS = 10_007
GETPPID = f"for _ in range({CALLS}): os.getppid()"
LISTENS = re.compile(r"http://(127\.0\.0\.1:\d+)")


class Agent:
    """A running ``sonde run``; what it says on standard error is kept in a file."""

    def __init__(self, process: subprocess.Popen[str], said: Path) -> None:
        self.process, self.said = process, said

    @property
    def loader_pid(self) -> int:
        """The other process."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        (pid,) = map(int, path.read_text().split())
        return pid

    def page(self, path: str = "metrics") -> str:
        """Scrape it."""
        address = self.until(lambda: LISTENS.search(self.said.read_text()))
        with urllib.request.urlopen(f"http://{address[1]}/{path}", timeout=60) as answer:
            text: str = answer.read().decode()
            return text

    def fresh_page(self) -> str:
        """Scrape what is read after this: a page may be as old as the shortest time between two readings."""
        time.sleep(2 * FRESH_S)
        return self.page()

    def page_where(self, found: Callable[[str], bool]) -> str:
        """Scrape until something is on the page: on a busy machine one may be older than it looks."""

        def page() -> str:
            text = self.fresh_page()
            return text if found(text) else ""

        return str(self.until(page))

    def until(self, found: Callable[[], Any]) -> Any:
        """Wait for something to be found."""
        deadline = time.monotonic() + PATIENCE_S
        while not (value := found()):
            assert self.process.poll() is None, self.said.read_text()
            assert time.monotonic() < deadline, self.said.read_text()
            time.sleep(0.1)
        return value

    def end(self, number: int = signal.SIGTERM) -> dict[str, Any]:
        """Ask it to end; gives its summary."""
        self.process.send_signal(number)
        return self.summary()

    def summary(self) -> dict[str, Any]:
        """Wait for the end, and read the summary."""
        out, _ = self.process.communicate(timeout=PATIENCE_S)
        assert self.process.returncode == 0, self.said.read_text()
        found: dict[str, Any] = json.loads(out)["summary"]
        return found


@contextmanager
def agent(folder: Path, *arguments: str, **settings: str | None) -> Iterator[Agent]:
    """Start one that measures what it is told, by dotted keys with ``__`` for the dot, and wait until it counts.

    None leaves a key to the configuration's file.
    """
    given: dict[str, str | None] = {
        "prometheus.listen": "127.0.0.1:0",
        "interval": "500ms",
        "budget.cpu": "off",
    }
    # Where another user can read the packages the agent would be that user, who cannot write into the test's folder.
    given["process.user"] = "root"
    given |= {name.replace("__", "."): value for name, value in settings.items()}
    words = [
        word for name, value in given.items() if value is not None for word in ("--set", f"{name}={value}")
    ]
    ready, told = os.pipe()
    said = folder / "said"
    with said.open("w") as file:
        process = start(
            "run",
            "--format",
            "json",
            "--ready-fd",
            str(told),
            *words,
            *arguments,
            pass_fds=(told,),
            stderr=file,
        )
    os.close(told)
    try:
        assert select.select([ready], [], [], PATIENCE_S)[0], said.read_text()
        assert os.read(ready, 1), said.read_text()
        yield Agent(process, said)
    finally:
        os.close(ready)
        if process.poll() is None:
            process.kill()
        process.communicate()


def only(made: Child) -> dict[str, str]:
    """Measure only this child, by pid."""
    return {
        "probes__processes__enabled": "false",
        "probes__syscalls__pid": str(made.pid),
        "series__by": "pid",
    }


def counts(text: str, name: str, **labels: str) -> int:
    """Add up a counter's series that have these labels."""
    found = 0
    for line in text.splitlines():
        match = re.fullmatch(rf"{name}(?:{{(.*)}})? (\S+)", line)
        if match and all(f'{key}="{value}"' in (match[1] or "") for key, value in labels.items()):
            found += int(float(match[2]))
    return found


def getppids(page: str, **labels: str) -> int:
    """How many calls of the children a page tells of."""
    return counts(page, "sonde_syscall_count_total", sonde_syscall_name="getppid", **labels)


def page_with(running: Agent, calls: int) -> str:
    """A page that was read when so many calls of the children had been made."""
    return running.page_where(lambda page: getppids(page) >= calls)
