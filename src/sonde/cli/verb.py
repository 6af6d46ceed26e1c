"""Verbs over probes: any view, for any probe that has the shape it needs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import click

from sonde.cli.formats import ROWS, Formats
from sonde.cli.parameter import unknown
from sonde.errors import CommandError
from sonde.probe import Probe, Stream, Table
from sonde.probes import probe as find_probe
from sonde.probes import probe_names

if TYPE_CHECKING:
    from sonde.cli.measurement import Measurement


@dataclass(frozen=True, slots=True)
class Verb:
    """A view as a command: what it needs, what it can be told, and how it makes its sink.

    ``options`` are the view's own, ``examples`` are full command lines with what they do; ``{probe}`` stands for the
    probe's name. ``formats`` are those that it writes. ``reads_histograms`` tells, by the options, whether it looks at
    buckets, or only at what follows from them.
    """

    name: str
    short: str
    summary: str
    shape: Literal["table", "stream", "histogram", "stacks"]
    make_sink: Callable[[Measurement], Any]
    options: Callable[[Sequence[Table | Stream]], list[click.Parameter]]
    examples: tuple[tuple[str, str], ...]
    formats: Formats = ROWS
    reads_histograms: Callable[[Mapping[str, Any]], bool] = lambda options: True

    def outputs(self, probe: Probe) -> Sequence[Table | Stream]:
        """Give what the verb can show of a probe."""
        if self.shape == "stream":
            return probe.streams
        if self.shape == "stacks":
            return [table for table in probe.tables if table.weight]
        return [table for table in probe.tables if self.shape == "table" or has_histogram(table)]


def has_histogram(output: Table | Stream) -> bool:
    """Tell whether a table's rows hold a distribution: what they count is in ``NAME_buckets`` then."""
    return isinstance(output, Table) and any(name.endswith("_buckets") for name in output.counted)


def verbs_for(output: Table | Stream) -> list[str]:
    """Name the verbs that can show an output."""
    if isinstance(output, Stream):
        return ["trace"]
    first = ["profile"] if output.weight else []
    return [*first, "top", *(["hist"] if has_histogram(output) else [])]


class VerbGroup(click.Group):
    """A verb: its commands are the probes that have the shape."""

    def __init__(self, verb: Verb) -> None:
        super().__init__(
            verb.name,
            help=f"{verb.summary}\n\nsonde {verb.name} PROBE --help shows the options.",
            short_help=verb.short,
            no_args_is_help=True,
            subcommand_metavar="PROBE [OPTIONS] [-- COMMAND …]",
        )
        self.verb = verb

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show how it is used, with the first probe that it can be used so with."""
        found = [find_probe(name) for name in self.list_commands(ctx)]
        self.epilog = (
            epilog(self.verb, max(found, key=lambda probe: probe.selects_processes)) if found else None
        )
        super().format_epilog(ctx, formatter)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the probes that the verb can show."""
        return [name for name in probe_names() if self.verb.outputs(find_probe(name))]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Make the command for one probe."""
        if cmd_name not in probe_names():
            return None
        found = find_probe(cmd_name)
        if not self.verb.outputs(found):
            works = dict.fromkeys(verb for output in found.outputs for verb in verbs_for(output))
            raise CommandError(
                f"sonde {self.verb.name} {cmd_name}",
                why=f"probe {cmd_name} has no {self.verb.shape}, which {self.verb.name} needs",
                hint="try " + " or ".join(f"sonde {verb} {cmd_name}" for verb in works),
                status=2,
            )
        from sonde.cli.probe_command import ProbeCommand

        return ProbeCommand(self.verb, found)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the probe; for another word name the nearest, and all."""
        if args and args[0] not in probe_names():
            raise click.UsageError(unknown(args[0], self.list_commands(ctx), noun="probe"), ctx)
        return super().resolve_command(ctx, args)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Say where options go when they come before the probe."""
        if args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            names = self.list_commands(ctx)
            found = next((word for word in args if word in names), next(iter(names), "PROBE"))
            rest = [word for word in args if word != found]
            raise click.UsageError(
                f"options come behind the probe: {ctx.command_path} {found} {shlex.join(rest)}", ctx
            )
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the probes under their own name."""
        rows = [(name, f"{find_probe(name).summary}.") for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Probes"):
                formatter.write_dl(rows)


OF_PROCESSES = (" --pid ", " --comm ", " --by comm", " -- ")
ON_INTERFACES = (
    ("sonde {verb} {probe} --interface eth0", "one interface; --interface may be given again"),
    ("sonde {verb} {probe} --exclude-interface 'veth*'", "all but loopback and these"),
)
"""Examples for probes on interfaces, which no processes are selected for."""


def epilog(verb: Verb, probe: Probe) -> str:
    """Make the examples below a help text."""
    examples = verb.examples
    if not probe.selects_processes:
        fitting = [each for each in examples if not any(word in each[0] for word in OF_PROCESSES)]
        examples = (*fitting, *(ON_INTERFACES if probe.on_interfaces else ()))
    lines = [(line.format(verb=verb.name, probe=probe.name), what) for line, what in examples]
    if not lines:
        return ""
    width = max(len(line) for line, _ in lines)
    return "\b\nExamples:\n" + "\n".join(f"  {line:<{width}}  {what}" for line, what in lines)
