"""The command line; ``main`` is the way in, and commands are files in ``commands``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import NoReturn

RESUMED = "_SONDE_AGENT"
"""The variable of the environment by which a process that is the agent knows it: its pid, and what it was asked for."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command that ``arguments`` (the process's own by default) name, and exit.

    Exit status: 0 success, 1 failure, 2 a bad option or value (or not Linux), 77 a missing capability; a measured
    command's own status where there is one.
    """
    if sys.platform != "linux":
        print(f"sonde: this is {sys.platform}: eBPF is part of Linux, run sonde there", file=sys.stderr)
        sys.exit(2)
    try:
        status = _status(arguments)
    except KeyboardInterrupt:
        # Before there was anything to show; from then on an interrupt ends the measurement in order.
        status = 130
    sys.exit(status)


def _status(arguments: Sequence[str] | None) -> int:
    pid, _, told = os.environ.pop(RESUMED, "").partition(" ") if arguments is None else ("", "", "")
    # Of another pid it is an agent's environment that somebody has handed on.
    if pid == str(os.getpid()):
        from sonde.cli.agent import resume

        return resume(told)
    from sonde.cli.root import run

    return run(sys.argv[1:] if arguments is None else list(arguments), is_process=arguments is None)
