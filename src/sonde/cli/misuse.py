"""What a command line that cannot be is to the person who typed it: click's exceptions in sonde's sentences."""

from __future__ import annotations

import click

from sonde.cli.failure import FAILED, FORESEEN, MISUSED
from sonde.cli.failure import status_after as status_after_failure
from sonde.cli.standard_streams import say

FORESEEN_OF_COMMANDS = (*FORESEEN, click.ClickException, click.exceptions.Exit, click.exceptions.Abort)
"""What a user can cause where a command line is read."""


def status_after(error: Exception) -> int:
    """Say on stderr what went wrong, and give the exit status; ``error`` is one of ``FORESEEN_OF_COMMANDS``."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.ctx.get_help(), err=True)
            return MISUSED
        case click.exceptions.Abort():
            say("sonde: aborted")
            return 130
        case click.UsageError():
            say(_usage(error))
            return MISUSED
        case click.ClickException():
            say(f"sonde: {error.format_message()}")
            return FAILED
    return status_after_failure(error)


def _usage(error: click.UsageError) -> str:
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
