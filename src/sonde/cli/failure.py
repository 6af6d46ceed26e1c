"""What a failure is to the person at the command line: one sentence and an exit status."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from sonde.cli.standard_streams import forget, say
from sonde.errors import (
    CommandError,
    ConfigError,
    KnobError,
    PermissionDeniedError,
    SondeError,
    errno_text,
)

FAILED, MISUSED, DENIED = 1, 2, 77
FORESEEN: tuple[type[Exception], ...] = (SondeError, OSError, MemoryError)
"""What a user can cause. Anything else is a bug of sonde's, and comes with its traceback."""


class ReaderGoneError(CommandError):
    """Whoever read the output has gone away, which is no failure to tell: ``sonde trace … | head``."""

    def __init__(self) -> None:
        super().__init__("write the output", why="nobody reads it any more", status=PIPE_CLOSED)


PIPE_CLOSED = 128 + signal.SIGPIPE
"""What a shell says of any other tool whose reader has gone away."""


def status_after(error: Exception) -> int:
    """Say on stderr what went wrong, and give the exit status; ``error`` is one of ``FORESEEN``."""
    if isinstance(error, ReaderGoneError):
        return error.status
    status, sentence = _told(error)
    say(f"sonde: {sentence}")
    return status


def carried_out(
    work: Callable[[], object],
    *,
    is_debugging: bool,
    foreseen: tuple[type[Exception], ...] = FORESEEN,
    told: Callable[[Exception], int] = status_after,
) -> int:
    """Do the work of a process, and give its exit status; what is ``foreseen`` and goes wrong is ``told``."""
    try:
        status = work()
        # It is None where it was closed before the start: with -o nobody needs it.
        if sys.stdout is not None:
            sys.stdout.flush()
    except foreseen as error:
        if is_debugging:
            import traceback

            traceback.print_exc()
        return told(error)
    return status if isinstance(status, int) else 0


def _told(error: Exception) -> tuple[int, str]:
    match error:
        case CommandError():
            return error.status, str(error)
        case PermissionDeniedError():
            return DENIED, denied(error)
        case KnobError():
            return MISUSED, str(error)
        case ConfigError():
            return MISUSED, "\nsonde: ".join(str(problem) for problem in error.problems)
        case SondeError():
            return FAILED, str(error)
        case OSError():
            forget(sys.stdout)
            what = f"{error.filename}: " if error.filename else ""
            return FAILED, f"{what}{errno_text(error.errno) if error.errno else error}"
        case MemoryError():
            return (
                FAILED,
                "there is not enough memory: give fewer entries (--max-entries) or a smaller --limit",
            )
    raise error


def denied(error: PermissionDeniedError) -> str:
    """Say which capability is missing, found by asking for what this process has, or why it has not helped."""
    from sonde.bpf import capabilities

    needed = error.capability.replace(",", " ").split() or capabilities.TRACING
    lacking = capabilities.missing(needed)
    if lacking:
        names = ", ".join(lacking)
        how = f"run it with sudo, or as a systemd service with AmbientCapabilities={' '.join(lacking)}"
        return f"{error.what}: the process lacks {names}: {how}"
    reason = capabilities.refusal()
    return f"{error.what}: {reason}: sonde doctor tells more" if reason else str(error)
