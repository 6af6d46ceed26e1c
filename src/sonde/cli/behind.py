"""Commands that take another command behind ``--``."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

import click
from click.core import augment_usage_errors


@dataclass(frozen=True, slots=True)
class Line:
    """What was typed: sonde's own words, and the command to start."""

    words: tuple[str, ...] = ()
    command: tuple[str, ...] = ()


class MeasuringCommand(click.Command):
    """A command whose context holds the ``Line`` as ``obj``; nothing but what is behind ``--`` is taken as a command."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Split the line; raises click.UsageError for words that have no place."""
        command: list[str] = []
        if "--" in args:
            at = args.index("--")
            args, command = args[:at], args[at + 1 :]
            if not command:
                raise click.UsageError("-- is followed by no command: give one, or leave it out", ctx)
        ctx.obj = Line(tuple(args), tuple(command))
        with augment_usage_errors(ctx):
            rest = super().parse_args(ctx, args)
        if ctx.args and not ctx.resilient_parsing:
            raise click.UsageError(
                f"there is no place for {ctx.args[0]!r}: a command to measure goes behind --: "
                f"{ctx.command_path} -- {shlex.join(ctx.args)}",
                ctx,
            )
        return rest
