"""Types of options: what a person may write, and what is said when it is something else."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import click

from sonde.duration import duration_s
from sonde.errors import SondeError
from sonde.nearest import nearest

COMM_BYTES_MAX = 15  # TASK_COMM_LEN is 16, with the NUL


class Duration(click.ParamType[float]):
    """A time: ``500ms``, ``5s``, ``2m``, ``1h``; in seconds."""

    name = "time"

    def __init__(self, *, least: str = "", most: str = "") -> None:
        """Take times above 0, or within bounds that are written as times themselves."""
        self.least, self.most = least, most

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        try:
            seconds = duration_s(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)
        if seconds <= 0:
            self.fail(f"{value!r} is no time: it has to be above 0, as 500ms or 5s", param, ctx)
        if (self.least and seconds < duration_s(self.least)) or (
            self.most and seconds > duration_s(self.most)
        ):
            self.fail(f"{value!r} cannot be: give from {self.least} to {self.most}", param, ctx)
        return seconds


class Count(click.ParamType[int]):
    """A whole number, of what ``noun`` says, that is not below ``least``."""

    name = "n"

    def __init__(self, noun: str, *, least: int = 0) -> None:
        """Take numbers from ``least`` on."""
        self.noun, self.least = noun, least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read it."""
        try:
            number = int(value)
        except ValueError:
            number = self.least - 1
        if not self.least <= number < 1 << 32:
            self.fail(f"{value!r} is no number of {self.noun}: give one from {self.least} on", param, ctx)
        return number


ONE = "give one; several processes have their parent (--pid with --children), their name (--comm) or a --cgroup in common"
"""What to do where more than one process was named."""


class Process(click.ParamType[int]):
    """A process that is there."""

    name = "pid"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Read its number, and look whether it lives."""
        try:
            pid = int(value)
        except ValueError:
            is_list = all(each.strip().isdecimal() for each in str(value).split(","))
            self.fail(
                f"{value!r} is several processes: {ONE}"
                if is_list
                else f"{value!r} is no process number: pgrep finds them by name",
                param,
                ctx,
            )
        group = thread_group_of(pid) if pid > 0 else None
        if group is None:
            self.fail(f"there is no process {value}: pgrep finds them by name", param, ctx)
        if group != pid:
            self.fail(f"{pid} is a thread of process {group}: give --pid {group}", param, ctx)
        return pid


def thread_group_of(pid: int) -> int | None:
    """Give the process that a thread belongs to; None when there is no such thread."""
    try:
        with open(f"/proc/{pid}/status", encoding="utf-8", errors="replace") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("Tgid:")), None)
    except OSError:
        return None


class Output(click.ParamType["str | None"]):
    """A file to write to; ``-`` is standard output, as where no file is named."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str | None:
        """Give its path, or None."""
        return None if value == "-" else str(value)


class Comm(click.ParamType[str]):
    """A process's name as the kernel keeps it."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check its length: a longer one would never match."""
        raw = os.fsencode(value)
        if not raw or len(raw) > COMM_BYTES_MAX:
            kept = raw[:COMM_BYTES_MAX].decode(errors="ignore")
            instead = f", which is {kept}" if kept else ""
            self.fail(f"{value!r} is no process's name: the kernel keeps 1 to 15 bytes{instead}", param, ctx)
        return str(value)


class Cgroup(click.ParamType[str]):
    """A directory of the cgroup v2 file system, given by its path or by its name below the root."""

    name = "cgroup"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Find the directory."""
        from sonde.bpf.link.cgroup import cgroup_roots

        roots = cgroup_roots()
        for path in (value, *(f"{root}/{value.lstrip('/')}" for root in roots)):
            # Only directories of version 2 list their controllers.
            if os.path.exists(f"{path}/cgroup.controllers"):
                return str(path)
        where = (
            f"a directory below {' or '.join(roots)}"
            if roots
            else "one, after mount -t cgroup2 none /sys/fs/cgroup"
        )
        self.fail(f"{value!r} is no cgroup of version 2: give {where}", param, ctx)


class Setting(click.ParamType[Any]):
    """A knob's value, read by the function that the probe declares."""

    def __init__(self, name: str, read: Callable[[str], Any]) -> None:
        """Read text with ``read``, which raises ValueError or SondeError."""
        self.name = name
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if not isinstance(value, str):
            return value
        try:
            return self._read(value)
        except ValueError as error:
            words = str(error)
            if self._read is int:
                words = f"{value!r} is no integer: give a number, as 100"
            self.fail(words, param, ctx)
        except SondeError as error:
            self.fail(str(error), param, ctx)


class Descriptor(click.ParamType[int]):
    """A file descriptor that was inherited, open for writing."""

    name = "n"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Look whether it is open."""
        import fcntl

        try:
            fd = int(value)
            mode = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
        except (ValueError, OSError, OverflowError):
            self.fail(f"{value!r} is no open descriptor: pass one, as with 3>&1 in a shell", param, ctx)
        if mode == os.O_RDONLY:
            self.fail(f"descriptor {fd} is open for reading only: pass a pipe's other end", param, ctx)
        return fd


def unknown(value: str, valid: Sequence[str], *, noun: str) -> str:
    """Say that there is no such thing, what may have been meant, and what there is."""
    near = nearest(value, valid)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return f"there is no {noun} {value!r}: {hint}valid: {', '.join(valid) or 'none'}"


def one_of(value: str, valid: Sequence[str], *, noun: str) -> str:
    """Give back a value that is valid; ValueError names the nearest, and all."""
    if value not in valid:
        raise ValueError(unknown(value, valid, noun=noun))
    return value


class OneOf(click.ParamType[str]):
    """One of some words; the message for another one names the nearest, and all of them."""

    def __init__(self, valid: Sequence[str], *, noun: str) -> None:
        """Take the ``valid`` words; ``noun`` is what they are."""
        self.valid = tuple(valid)
        self.noun = noun
        self.name = "|".join(self.valid) if len(self.valid) < 5 else noun

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """Show the words where they are few."""
        return f"[{self.name}]" if "|" in self.name else self.name.upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Check it."""
        try:
            return one_of(value, self.valid, noun=self.noun)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[click.shell_completion.CompletionItem]:
        """Offer the words."""
        return [
            click.shell_completion.CompletionItem(word) for word in self.valid if word.startswith(incomplete)
        ]
