"""``sonde`` itself: finds the command by walking a folder, runs it, and turns what goes wrong into one sentence."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Sequence

import click

from sonde.cli import commands
from sonde.cli.failure import carried_out
from sonde.cli.misuse import FORESEEN_OF_COMMANDS, status_after
from sonde.cli.parameter import unknown

WIDTH_MAX = 110
EXAMPLES = """\
\b
Examples:
  sonde top syscalls --for 5s       what every process asks of the kernel
  sonde trace syscalls --pid 4711   one line for each call
  sonde hist syscalls -- make       how long the calls of a command take
  sonde profile cpu -o cpu.html     what runs, as a flame graph
  sonde load counter.bpf.o          any BPF object: its maps and records
  sonde doctor                      what this machine allows, and how to mend it
"""


class Commands(click.Group):
    """A group whose commands are the modules of ``sonde.cli.commands``: each has one ``COMMAND``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name them, without importing any."""
        return sorted(module.name for module in pkgutil.iter_modules(commands.__path__))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one."""
        if cmd_name not in self.list_commands(ctx):
            return None
        found: click.Command = importlib.import_module(f"{commands.__name__}.{cmd_name}").COMMAND
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find it; for another word name the nearest, and all."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not ctx.resilient_parsing:
            raise click.UsageError(unknown(args[0], names, noun="command"), ctx)
        return super().resolve_command(ctx, args)


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:  # noqa: FBT001  # click calls it
    if value and not ctx.resilient_parsing:
        from sonde.version import VERSION

        click.echo(f"sonde {VERSION}")
        ctx.exit()


@click.group(
    cls=Commands,
    name="sonde",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": WIDTH_MAX},
    epilog=EXAMPLES,
    no_args_is_help=True,
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version.",
)
@click.option("--debug", is_flag=True, help="libbpf's log on stderr, and a traceback with every error.")
def root(debug: bool) -> None:  # noqa: FBT001  # click calls it
    """Measure the Linux kernel with eBPF: what processes ask of it, how long it takes, and nothing lost silently."""
    from sonde.cli.own_process import set_up

    set_up(is_debugging=debug)


def run(arguments: Sequence[str], *, is_process: bool = False) -> int:
    """Run a command line; gives its exit status, and has said on stderr why it is not 0.

    With ``is_process`` it is what the process was started for, which may start itself again (the context's ``obj``).
    """
    return carried_out(
        lambda: root.main(list(arguments), prog_name="sonde", standalone_mode=False, obj=is_process),
        is_debugging="--debug" in arguments[:1],
        foreseen=FORESEEN_OF_COMMANDS,
        told=status_after,
    )
