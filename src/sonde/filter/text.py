"""Files of text that a person wrote, read with care: rules, and lists of networks."""

from __future__ import annotations

import os
import stat

from sonde.errors import ConfigError, errno_text

BYTES_MAX = 64 << 20
"""A list of 1,000,000 networks has 20 MB."""


def read_text(path: str) -> str:
    """Read a file that not everybody may write; raises ConfigError, one sentence for each way to fail."""
    if not path or "\0" in path:
        raise ConfigError(path or "rules", reason="the path is empty or has a NUL: give a file's")
    try:
        # Without blocking: opening a FIFO would wait for its writer.
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except OSError as error:
        raise ConfigError(path, reason=errno_text(error.errno or 0)) from None
    try:
        _check(path, os.fstat(fd))
        with open(fd, "rb", closefd=False) as file:
            content = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(path, reason=errno_text(error.errno or 0)) from None
    finally:
        os.close(fd)
    if len(content) > BYTES_MAX:
        raise ConfigError(path, reason=f"it has more than {BYTES_MAX:,} bytes")
    return _decoded(path, content)


def _check(path: str, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        what = "a directory" if stat.S_ISDIR(status.st_mode) else "no regular file, which could be read again"
        raise ConfigError(path, reason=f"it is {what}: give a file")
    if status.st_mode & stat.S_IWOTH:
        quoted = path if path.isprintable() and " " not in path else shown(path)
        why = "everybody may write it, and so decide what is dropped"
        raise ConfigError(path, reason=why, hint=f"run: chmod o-w {quoted}")


def _decoded(path: str, content: bytes) -> str:
    if (nul := content.find(b"\0")) >= 0:
        line = content.count(b"\n", 0, nul) + 1
        raise ConfigError(path, line=line, reason="it has a NUL byte: this is no text")
    try:
        # Some editors begin a file with a byte-order mark, which TOML does not know.
        return content.removeprefix(b"\xef\xbb\xbf").decode()
    except UnicodeDecodeError as error:
        line, byte = content.count(b"\n", 0, error.start) + 1, content[error.start]
        why = f"byte 0x{byte:02x} is no UTF-8: save it as UTF-8"
        raise ConfigError(path, line=line, reason=why) from None


def shown(value: object) -> str:
    """Write a value as a message shows it: in one line, not too long, nothing that a terminal would obey."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
