"""Writing for who reads: a pipe or a socket that is full would have the agent wait for ever."""

from __future__ import annotations

import select
from typing import TextIO

PIECE = select.PIPE_BUF // 4
"""So many characters, of four bytes at most, a pipe takes at once where it takes anything."""


def is_taken(stream: TextIO | None, within_s: float = 0.0) -> bool:
    """Tell whether a stream takes something at once, or within so long; what is no file is taken to, and one is there."""
    if stream is None:
        return False
    try:
        poll = select.poll()
        poll.register(stream.fileno(), select.POLLOUT)
    except (OSError, ValueError, AttributeError):
        return True
    return bool(poll.poll(within_s * 1000))


def write_patiently(stream: TextIO | None, text: str, within_s: float = 0.0) -> bool:
    """Write a text, each piece of it within so long; False where nobody reads, or not to the end."""
    if stream is None:
        return False
    try:
        for start in range(0, len(text), PIECE):
            if not is_taken(stream, within_s):
                return False
            stream.write(text[start : start + PIECE])
            stream.flush()
    except OSError:
        # Nobody is there any more, or the disk is full.
        return False
    return True
