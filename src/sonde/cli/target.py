"""The command behind ``--``: started stopped, measured from its first call on."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Sequence
from typing import Self

from sonde.errors import CommandError

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""Exit statuses of a command that could not be started, as env(1), nohup(1) and shells have them."""

TERMINATION_S = 5.0


class Target:
    """A process of our own; a context manager, which ends it when something fails before it has run.

    It stands still, before its execve, until ``resume``. Its input and output are ours.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = tuple(command)
        self._path = _resolved(self.command[0])
        self.pid = 0
        self._pidfd = -1
        self._status: int | None = None

    def __enter__(self) -> Self:
        from sonde._libbpf import ffi, lib
        from sonde._libbpf.check import check

        arguments = [ffi.new("char[]", os.fsencode(each)) for each in self.command]
        variables = [ffi.new("char[]", name + b"=" + value) for name, value in os.environb.items()]
        child = lib.sonde_spawn_stopped(
            os.fsencode(self._path),
            ffi.new("char *[]", [*arguments, ffi.NULL]),
            ffi.new("char *[]", [*variables, ffi.NULL]),
        )
        self.pid = check(child, "start", self.command[0])
        os.waitpid(self.pid, os.WUNTRACED)
        self._pidfd = os.pidfd_open(self.pid)
        return self

    def resume(self) -> None:
        """Let it run."""
        os.kill(self.pid, signal.SIGCONT)

    def fileno(self) -> int:
        """Give a descriptor that is readable once it has ended."""
        return self._pidfd

    @property
    def has_ended(self) -> bool:
        """Tell whether it is over."""
        return self._status is not None or bool(self._wait(0))

    def finish(self) -> int:
        """End it, kindly and within a few seconds, unless it has ended; gives the exit status that a shell would.

        Raises CommandError when it will not go.
        """
        if not self.has_ended:
            os.kill(self.pid, signal.SIGTERM)
            # It may have been stopped, by Ctrl-Z for one.
            os.kill(self.pid, signal.SIGCONT)
            if not self._wait(TERMINATION_S):
                raise CommandError(
                    f"end {self.command[0]}", why=f"it ignores SIGTERM and still runs as process {self.pid}"
                )
        if self._status is None:
            name = _name_of(self.pid)
            _, wait_status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(wait_status)
            self._status = code if code >= 0 else 128 - code
            if self._status in (NOT_FOUND, NOT_EXECUTABLE) and name == _name_of(os.getpid()) != self._name:
                # It died with our name, so its execve has failed.
                raise CommandError(
                    f"start {self.command[0]}",
                    why="the kernel cannot execute it: it is no program for this machine, and names no interpreter",
                    status=self._status,
                )
        return self._status

    @property
    def _name(self) -> str:
        """The name that the kernel gives the program once it runs."""
        return os.path.basename(self._path)[:15]

    def _wait(self, seconds: float) -> list[tuple[int, int]]:
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        return poll.poll(seconds * 1000)

    def __exit__(self, kind: object, *_: object) -> None:
        if self._status is None and kind is not None:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        if self._pidfd >= 0:
            os.close(self._pidfd)


def _name_of(pid: int) -> str:
    with open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().removesuffix("\n")


def _resolved(name: str) -> str:
    import shutil

    path = shutil.which(name)
    if path is not None:
        return path
    if os.path.exists(name):
        raise CommandError(
            f"start {name}", why="it is no program that may be executed", status=NOT_EXECUTABLE
        )
    raise CommandError(f"start {name}", why="there is no such command", status=NOT_FOUND)
