"""Nothing that a benchmark starts outlives it, even where it is killed: what is put before such a command."""

from __future__ import annotations

WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""The command is killed when the thread that started it ends; its pid is the command's.

What it starts itself is not covered, nor one that drops its privileges, of which the kernel forgets this.
"""


def with_us_within(seconds: float) -> list[str]:
    """Give what ends a command and all that it starts, when the thread that started it ends and after so many seconds at most.

    The pid is that of a process around the command, which leads a process group: start it in a session of its own.
    """
    return ["setpriv", "--pdeathsig", "TERM", "timeout", "--signal", "KILL", f"{seconds:g}"]
