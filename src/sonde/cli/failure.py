"""What a failure is to the person at the command line: one sentence and an exit status."""

from __future__ import annotations

import signal
import sys

import click

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
FORESEEN = (
    SondeError,
    click.ClickException,
    click.exceptions.Exit,
    click.exceptions.Abort,
    OSError,
    MemoryError,
)
"""What a user can cause. Anything else is a bug of sonde's, and comes with its traceback."""


class ReaderGoneError(CommandError):
    """Whoever read the output has gone away, which is no failure to tell: ``sonde trace … | head``."""

    def __init__(self) -> None:
        super().__init__("write the output", why="nobody reads it any more", status=PIPE_CLOSED)


PIPE_CLOSED = 128 + signal.SIGPIPE
"""What a shell says of any other tool whose reader has gone away."""


def status_after(error: Exception) -> int:
    """Say on stderr what went wrong, and give the exit status; ``error`` is one of ``FORESEEN``."""
    if isinstance(error, click.exceptions.Exit):
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.ctx.get_help(), err=True)
        return MISUSED
    if isinstance(error, ReaderGoneError):
        return error.status
    status, sentence = _told(error)
    # A misuse names the whole command already.
    say(sentence if sentence.startswith(("sonde ", "sonde:")) else f"sonde: {sentence}")
    return status


def _told(error: Exception) -> tuple[int, str]:
    match error:
        case click.exceptions.Abort():
            return 130, "aborted"
        case click.UsageError():
            return MISUSED, usage(error)
        case click.ClickException():
            return FAILED, error.format_message()
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


def usage(error: click.UsageError) -> str:
    """Make one sentence of a misuse: the command, the option, what is wrong, the valid values."""
    where = error.ctx.command_path if error.ctx else "sonde"
    if isinstance(error, click.NoSuchOption):
        return f"{where}: {_no_such_option(error)}"
    if isinstance(error, click.MissingParameter) and error.param is not None:
        return f"{where}: {_name_of(error.param)} is missing: see {where} --help"
    message = error.message if isinstance(error, click.BadParameter) else error.format_message()
    # click's own sentences begin with a capital and end with a stop.
    message = " ".join(message.split()).removesuffix(".")
    if message[1:2].islower():
        message = message[0].lower() + message[1:]
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{where}: {_name_of(error.param)}: {message}"
    return f"{where}: {message}"


def _name_of(parameter: click.Parameter) -> str:
    # An argument has no dashes; of an option's spellings the long one says most.
    return (
        max(parameter.opts, key=len) if isinstance(parameter, click.Option) else parameter.human_readable_name
    )


def _no_such_option(error: click.NoSuchOption) -> str:
    what = f"there is no option {error.option_name}"
    if error.possibilities:
        return f"{what}: did you mean {' or '.join(sorted(error.possibilities))}?"
    valid = [
        max(parameter.opts, key=len)
        for parameter in (error.ctx.command.get_params(error.ctx) if error.ctx else [])
        if isinstance(parameter, click.Option) and not parameter.hidden
    ]
    return f"{what}: valid: {', '.join(valid)}"
