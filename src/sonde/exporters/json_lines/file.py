"""A file of lines that is replaced by a new one when it is large or old."""

from __future__ import annotations

import errno
import os
import select
import stat
import time

from sonde.exporters.json_lines.settings import JsonLinesSettings

NEW = ".new"
"""What the next file is called until the others have been renamed."""

_MODE = 0o640
_PATIENCE_MS = 1000


class LinesFile:
    """Appends whole lines; raises OSError, and has then left no part of them in a regular file.

    Belongs to one thread. ``close`` it.
    """

    def __init__(self, settings: JsonLinesSettings) -> None:
        """Open the file, or take standard output; raises OSError."""
        self._settings = settings
        self._fd = -1
        self._size, self._opened_at = 0, 0.0
        self._is_regular = self._is_torn = self._is_pipe = False
        self._taken = 0
        self.rotations = 0
        if settings.is_stdout:
            self._fd = 1
            self._is_pipe = stat.S_ISFIFO(os.fstat(1).st_mode)
        else:
            self._take(_open(settings.path))

    def append(self, lines: bytes) -> None:
        """Write whole lines in one piece.

        A pipe that nobody reads may have taken a part of them when it raises OSError (EAGAIN): the same lines, given again, go on
        behind it.
        """
        if self._is_due(len(lines)):
            self.rotate()
        # A line that an earlier process, or an earlier failure, left unfinished must not swallow ours.
        written, lines = self._taken, (b"\n" + lines if self._is_torn else lines)
        self._taken = 0
        try:
            while written < len(lines):
                written += self._write(lines[written:] if written else lines)
        except OSError as error:
            if self._is_pipe and error.errno == errno.EAGAIN:
                self._taken = written
            else:
                self._undo(written)
            raise
        self._is_torn = False
        self._size += written

    def _write(self, data: bytes) -> int:
        if not self._is_pipe:
            return os.write(self._fd, data)
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if not poll.poll(_PATIENCE_MS):
            raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        # It has room for so much, and takes it at once: who reads it may stop for ever.
        return os.write(self._fd, data[: select.PIPE_BUF])

    def _undo(self, written: int) -> None:
        if not written:
            return
        try:
            # Somebody else may have appended meanwhile.
            if self._is_regular and os.fstat(self._fd).st_size == self._size + written:
                os.ftruncate(self._fd, self._size)
                return
        except OSError:
            pass
        self._is_torn = True

    def _is_due(self, more: int) -> bool:
        chosen = self._settings
        if not self._is_regular or chosen.is_stdout or not self._size:
            return False
        if chosen.rotate_size_bytes and self._size + more > chosen.rotate_size_bytes:
            return True
        return bool(chosen.rotate_after_s) and time.monotonic() - self._opened_at >= chosen.rotate_after_s

    def rotate(self) -> None:
        """Rename the file and its predecessors, and begin a new one; raises OSError, and goes on with the old one.

        The new file is made first: where it cannot be, nothing has been renamed.
        """
        path, keep = self._settings.path, self._settings.rotate_keep
        new = _open(path + NEW, empty=True)
        try:
            for number in range(keep - 1, 0, -1):
                _rename(f"{path}.{number}", f"{path}.{number + 1}")
            if keep:
                _rename(path, f"{path}.1")
            os.replace(path + NEW, path)
        except OSError:
            os.close(new)
            raise
        self._take(new)
        self.rotations += 1

    def reopen(self) -> None:
        """Open the path again, where another program has renamed the file; raises OSError, and keeps the old one."""
        if not self._settings.is_stdout:
            self._take(_open(self._settings.path))

    def _take(self, fd: int) -> None:
        self.close()
        self._fd = fd
        found = os.fstat(fd)
        self._is_regular, self._is_pipe = stat.S_ISREG(found.st_mode), stat.S_ISFIFO(found.st_mode)
        self._taken = 0
        self._size = found.st_size if self._is_regular else 0
        self._opened_at = time.monotonic()
        self._is_torn = self._is_regular and self._size > 0 and os.pread(fd, 1, self._size - 1) != b"\n"

    def close(self) -> None:
        """Close the file; again is fine."""
        if self._fd >= 0 and not self._settings.is_stdout:
            os.close(self._fd)
        self._fd = -1


def _open(path: str, *, empty: bool = False) -> int:
    # Reading shows whether the last line is whole; a pipe or a device may be writable only, and a pipe without a
    # reader must not stop the start.
    flags = os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | (os.O_TRUNC if empty else 0)
    try:
        is_file = stat.S_ISREG(os.stat(path).st_mode)
    except FileNotFoundError:
        is_file = True
    return os.open(path, flags | (os.O_RDWR if is_file else os.O_WRONLY | os.O_NONBLOCK), _MODE)


def _rename(old: str, new: str) -> None:
    try:
        os.replace(old, new)
    except FileNotFoundError:
        return
