"""``sonde config``: an example of the agent's configuration, and what one would make it do."""

from __future__ import annotations

import os
import stat
import sys

import click

from sonde.cli.destination import Destination
from sonde.cli.parameter import unknown
from sonde.cli.standard_streams import say

EXAMPLES = """\
\b
Examples:
  sonde config example > sonde.toml    every key with its default, to begin with
  sonde config check sonde.toml        what would run, and all that is wrong
  sonde config check                   the same for the environment alone
"""
EXAMPLE_EXAMPLES = """\
\b
Examples:
  sonde config example                                     on the terminal
  sonde config example | sudo tee /etc/sonde/sonde.toml    for the service
"""
CHECK_EXAMPLES = """\
\b
Examples:
  sonde config check /etc/sonde/sonde.toml               what would run, exit status 0; or what is wrong, 2
  sonde config example | sonde config check -            what comes through a pipe
  SONDE_BUDGET_CPU=off sonde config check --json         with a variable of the environment, for machines
"""


STDIN = 0
PIPED = "standard input"


class Parts(click.Group):
    """A command's own commands; for another word it names the nearest, and all."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find it."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not ctx.resilient_parsing:
            raise click.UsageError(unknown(args[0], names, noun="command"), ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=Parts,
    name="config",
    short_help="The agent's configuration: an example, a check.",
    epilog=EXAMPLES,
    no_args_is_help=True,
)
def COMMAND() -> None:  # noqa: N802  # found by this name
    """Write an example of the agent's configuration, or tell what one would make it do."""


@COMMAND.command(
    name="example", short_help="A whole file, every key with its default.", epilog=EXAMPLE_EXAMPLES
)
def _example() -> None:
    """Print a configuration with every key, what it means and its default."""
    from sonde.agent.config.example import example

    with Destination(for_machines=True) as destination:
        destination.file.write(example())


@COMMAND.command(name="check", short_help="What would run, and all that is wrong.", epilog=CHECK_EXAMPLES)
@click.argument("file", required=False)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def _check(*, file: str | None, as_json: bool) -> None:
    """Read FILE (- is standard input) and the environment as sonde run does, and tell what would run; measures nothing.

    Exit status 2 when something is wrong: every problem is told with its line.
    """
    from sonde.agent.config import load_config
    from sonde.agent.config.report import report, report_lines

    if file is None and _is_pipe(STDIN):
        say("sonde: standard input is not read: sonde config check - reads it")
    content = _piped(file)
    config = load_config(PIPED if file == "-" else file, os.environ, content=content)
    with Destination(for_machines=as_json) as destination:
        if as_json:
            from sonde.views.json import JsonWriter

            JsonWriter(destination.file).line(report(config))
        else:
            for line in report_lines(config):
                destination.line(line)


def _piped(file: str | None) -> bytes | None:
    """Give what comes through a pipe: the agent could not read it again, and a check need not."""
    from sonde.agent.config.document import BYTES_MAX

    if file == "-":
        return sys.stdin.buffer.read(BYTES_MAX + 1) if sys.stdin is not None else b""
    if file is None or not _is_pipe(file):
        return None
    with open(file, "rb") as pipe:
        return pipe.read(BYTES_MAX + 1)


def _is_pipe(file: str | int) -> bool:
    try:
        return stat.S_ISFIFO(os.stat(file).st_mode)
    except (OSError, ValueError):
        return False
