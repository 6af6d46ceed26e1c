"""Standard output and stderr: what is said beside the output, and giving one up that takes nothing any more."""

from __future__ import annotations

import os
import sys
from typing import TextIO


def say(text: str, *, end: str = "\n") -> None:
    """Write to stderr; where nobody can hear it (a terminal or a reader that has gone, a full disk) the work goes on."""
    # print() takes None, which stderr is where it was closed before the start, for standard output.
    if sys.stderr is None:
        return
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except OSError:
        forget(sys.stderr)


def is_heard() -> bool:
    """Tell whether stderr is a terminal, where a person may read along."""
    return sys.stderr is not None and sys.stderr.isatty()


def width() -> int | None:
    """Give how many columns stderr has; None where it is no terminal."""
    if not is_heard():
        return None
    try:
        return os.get_terminal_size(sys.stderr.fileno()).columns or 80
    except OSError:
        return None


def forget(stream: TextIO) -> None:
    """Give a stream up: what is still buffered must not raise once more when Python exits."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, stream.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):
        return
