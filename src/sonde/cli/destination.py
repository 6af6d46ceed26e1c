"""Where a command's output goes: a terminal, a pipe, or the file behind ``-o``."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Self, TextIO

from sonde.cli.failure import ReaderGoneError
from sonde.cli.standard_streams import forget
from sonde.errors import CommandError, SondeError, errno_text

if TYPE_CHECKING:
    from sonde.views.line import Line


class Destination:
    """An open text file, and what it can do; a context manager, which closes what it has opened.

    A file is replaced, as by other tools: it can be written from the beginning on, and is emptied when somebody asks for
    it. So what fails before there is anything to write, such as a command whose name was mistyped, costs no older file.
    """

    def __init__(self, path: str | None = None, *, for_machines: bool = False) -> None:
        """Write to a file, or to standard output; ``for_machines`` it is UTF-8 in every locale."""
        self._path = path
        self._for_machines = for_machines
        self._file: TextIO | None = None
        self._is_emptied = False
        self._restore: Callable[[], None] | None = None

    def __enter__(self) -> Self:
        if self._path is not None:
            try:
                self._file = open(
                    self._path, "w", encoding="utf-8", errors="surrogateescape", opener=open_unemptied
                )
            except OSError as error:
                why = errno_text(error.errno or 0)
                raise CommandError(f"write {self._path}", why=why, hint="give -o another path") from error
        elif sys.stdout is None:
            raise CommandError("write the output", why="standard output is closed", hint="give -o FILE")
        else:
            # In a locale that lacks a letter a question mark is better than no output.
            encoding = "utf-8" if self._for_machines else None
            sys.stdout.reconfigure(encoding=encoding, errors="replace")  # type: ignore[union-attr]
        return self

    @property
    def file(self) -> TextIO:
        """Give the file to write to, which is empty then."""
        if self._file is not None and not self._is_emptied:
            self._is_emptied = True
            empty(self._file.fileno())
        return self._file or sys.stdout

    @property
    def is_terminal(self) -> bool:
        """Tell whether it is a terminal that can be drawn on."""
        return (self._file or sys.stdout).isatty() and os.environ.get("TERM", "dumb") != "dumb"

    @property
    def has_colour(self) -> bool:
        """Tell whether colours are wanted: see no-color.org."""
        return self.is_terminal and not os.environ.get("NO_COLOR")

    def width(self) -> int:
        """Give the terminal's width now."""
        return os.get_terminal_size(self.file.fileno()).columns or 80

    def line(self, line: Line) -> None:
        """Write one line, with its colours where they are wanted."""
        from sonde.views.line import painted, plain

        self.file.write((painted(line) if self.has_colour else plain(line)) + "\n")

    def adopt(self, restore: Callable[[], None]) -> None:
        """Call ``restore`` at the end, before an error is told: it gives back a terminal that is drawn on."""
        self._restore = restore

    def __exit__(self, kind: object, error: object, *_: object) -> None:
        failure = error if isinstance(error, OSError) and not isinstance(error, SondeError) else None
        try:
            if self._restore is not None:
                self._restore()
            if error is None and self._file is not None and not self._is_emptied:
                # There was nothing to write, which is an empty file.
                empty(self._file.fileno())
            if self._file is not None:
                self._file.close()
        except OSError as closing:
            failure = failure or closing
        if failure is None:
            return
        if self._file is None:
            forget(sys.stdout)
        if isinstance(failure, BrokenPipeError):
            raise ReaderGoneError from failure
        where = self._path or "the output"
        raise CommandError(f"write {where}", why=errno_text(failure.errno or 0)) from failure


def open_unemptied(path: str, flags: int = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC) -> int:
    """Open a file for writing as it is, made where there is none; raises OSError."""
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def empty(fd: int) -> None:
    """Empty a file that was opened; pipes and devices have nothing to be emptied."""
    if stat.S_ISREG(os.fstat(fd).st_mode):
        os.ftruncate(fd, 0)
