"""``sonde completion SHELL``: the script that teaches a shell to complete."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from sonde.cli.parameter import OneOf

SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_SONDE_COMPLETE"
EXAMPLES = """\
\b
Examples:
  eval "$(sonde completion bash)"                                   now, in this bash
  sonde completion bash > /etc/bash_completion.d/sonde              for everybody's bash
  sonde completion zsh > "${fpath[1]}/_sonde"                       for zsh
  sonde completion fish > ~/.config/fish/completions/sonde.fish     for fish
"""


@click.command(
    name="completion", short_help="A script that completes sonde's words in a shell.", epilog=EXAMPLES
)
@click.argument("shell", type=OneOf(SHELLS, noun="shell"))
@click.pass_context
def COMMAND(ctx: click.Context, /, shell: str) -> None:  # noqa: N802  # found by this name
    """Print the script that completes commands, probes, options and values in bash, zsh or fish."""
    kind = get_completion_class(shell)
    assert kind is not None, "click knows these shells"
    root = ctx.find_root().command
    click.echo(kind(root, {}, "sonde", VARIABLE).source())
