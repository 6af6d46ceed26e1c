"""The command line; ``start`` and ``main`` are the ways in, and commands are files in ``commands``."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

RESUMED = "_SONDE_AGENT"
"""The variable of the environment by which a process that is the agent knows it: its pid, and what it was asked for."""


def start() -> NoReturn:
    """Be the program ``sonde``: run the command that the process's own arguments name, and exit as ``main`` does.

    The process may start itself again, by the words that it was started with: nothing else belongs in it.
    """
    _exit_after(_start)


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``arguments`` (the process's own by default) name, and exit; for programs that do more.

    Exit status: 0 success, 1 failure, 2 a bad option or value (or not Linux), 77 a missing capability; a measured
    command's own status where there is one.
    """
    _exit_after(lambda: _run(sys.argv[1:] if arguments is None else list(arguments)))


def _exit_after(work: Callable[[], int]) -> NoReturn:
    if sys.platform != "linux":
        print(f"sonde: this is {sys.platform}: eBPF is part of Linux, run sonde there", file=sys.stderr)
        sys.exit(2)
    try:
        status = work()
    except KeyboardInterrupt:
        # Before there was anything to show; from then on an interrupt ends the measurement in order.
        status = 130
    sys.exit(status)


def _start() -> int:
    pid, _, told = os.environ.pop(RESUMED, "").partition(" ")
    # Of another pid it is an agent's environment that somebody has handed on.
    if pid != str(os.getpid()):
        return _run(sys.argv[1:], is_process=True)
    from sonde.cli.agent import resume

    return resume(told)


def _run(arguments: Sequence[str], *, is_process: bool = False) -> int:
    from sonde.cli.root import run

    return run(arguments, is_process=is_process)
