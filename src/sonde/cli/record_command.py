"""``sonde record`` and the outputs it was given: one command, put together from what their probes declare."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import click
from click.core import augment_usage_errors

from sonde.cli.behind import Line, MeasuringCommand
from sonde.cli.knob_option import knob_option, value_of
from sonde.cli.measurement import Measurement
from sonde.cli.options import run_options
from sonde.cli.parameter import Count, Duration, unknown
from sonde.cli.request import requested, selecting
from sonde.cli.selection import check_selection, selection_from, selection_options, why_filtered
from sonde.probe import RATE_MAX, Knob, Probe, Stream, Table
from sonde.probes import probe as find_probe
from sonde.probes import probe_names

Chosen = tuple[Probe, Table | Stream | None]
"""A probe, and its output where one was named."""


class RecordCommand(MeasuringCommand):
    """The outputs that one word names, ``PROBE[.OUTPUT][,…]``, and the options of all their probes."""

    def __init__(self, word: str, *, epilog: str) -> None:
        self.chosen = chosen_by(word)
        self.knobs = {knob.name: knob for probe, _ in self.chosen for knob in reversed(probe.knobs)}
        summaries = [output.summary if output else probe.summary for probe, output in self.chosen]
        super().__init__(
            word,
            params=[
                *(knob_option(self.knobs[name], is_hidden=False) for name in sorted(self.knobs)),
                *selection_options([probe for probe, _ in self.chosen]),
                *(each for each in run_options() if each.name not in ("format", "path")),
                click.Option(
                    ["-o", "--output", "path"],
                    metavar="FILE",
                    required=True,
                    help="Write to FILE, in the place of what it held; - is standard output.",
                ),
                click.Option(
                    ["--every", "every_s"],
                    type=Duration(least="10ms", most="1d"),
                    metavar="TIME",
                    help="Time between two readings of a table (1s).",
                ),
                click.Option(
                    ["--rate-max", RATE_MAX],
                    type=Count("records"),
                    metavar="N",
                    help="Take N records of a stream a second at most; what is above is counted as lost.",
                ),
            ],
            help=f"Record {'; '.join(summaries)}.",
            short_help=f"{summaries[0]}.",
            epilog=epilog,
            options_metavar="-o FILE [OPTIONS] [-- COMMAND …]",
        )

    def invoke(self, ctx: click.Context) -> int:
        """Record."""
        line: Line = ctx.obj
        given = {name: value_of(knob, ctx.params[f"knob_{name}"]) for name, knob in self.knobs.items()}
        given = {name: value for name, value in given.items() if value is not None}
        check_selection(ctx, [probe for probe, _ in self.chosen], line.command)
        asked = []
        for probe, output in self.chosen:
            values = {knob.name: given[knob.name] for knob in probe.knobs if knob.name in given}
            found = _output_for(ctx, probe, output, values)
            if isinstance(found, Stream) and ctx.params[RATE_MAX] is not None:
                values[RATE_MAX] = ctx.params[RATE_MAX]
            left_out = requested(ctx, line, only=selecting(probe))
            selection = selection_from(ctx, probe)
            asked.append(
                Measurement(
                    probe=probe,
                    output=found,
                    selection=selection,
                    values=values,
                    options=ctx.params,
                    command=line.command,
                    request=" ".join(requested(ctx, line)),
                    filtered=why_filtered(left_out, probe, selection, line.command),
                )
            )
        from sonde.cli.recording import record

        return record(asked)


def _output_for(
    ctx: click.Context, probe: Probe, output: Table | Stream | None, values: Mapping[str, Any]
) -> Table | Stream:
    """Find the output that all the knobs go with; raises click.UsageError."""
    for each in [output] if output else probe.outputs:
        wrong = [knob for knob in probe.knobs if knob.name in values and not knob.goes_with(each)]
        if not wrong:
            return each
    knob: Knob = wrong[0]
    outputs = " or ".join(f"{probe.name}.{name}" for name in knob.outputs)
    what = f"{probe.name}.{output.name}" if output else probe.name
    raise click.UsageError(f"{knob.flag} does not go with {what}: record {outputs}", ctx)


def chosen_by(word: str) -> list[Chosen]:
    """Find the outputs that a word names; raises click.UsageError with the nearest names."""
    found: list[Chosen] = []
    for part in word.split(","):
        name, dot, output_name = part.partition(".")
        if name not in probe_names():
            raise click.UsageError(unknown(name, probe_names(), noun="probe"))
        probe = find_probe(name)
        names = [output.name for output in probe.outputs]
        if dot and output_name not in names:
            full = [f"{name}.{each}" for each in names]
            raise click.UsageError(unknown(part, full, noun="output"))
        chosen = (probe, probe.output(output_name) if dot else None)
        if any(each is chosen[0] and other is chosen[1] for each, other in found):
            raise click.UsageError(f"{part} is there twice: leave one out")
        found.append(chosen)
    return found


def words() -> list[str]:
    """Name all that can be recorded: each probe, each of its outputs."""
    return [
        word
        for name in probe_names()
        for word in (name, *(f"{name}.{output.name}" for output in find_probe(name).outputs))
    ]


class RecordGroup(click.Group):
    """``sonde record``: what to record may stand before or behind the options."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name what can be recorded."""
        return words()

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Make the command for one word; raises click.UsageError with the nearest names."""
        with augment_usage_errors(ctx):
            return RecordCommand(cmd_name, epilog=self.epilog or "")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Move what to record to the front."""
        end = args.index("--") if "--" in args else len(args)
        at = next((at for at in range(end) if _names_a_probe(args[at])), None)
        if at is not None:
            args = [args[at], *args[:at], *args[at + 1 :]]
        elif args and args[0].startswith("-") and args[0] not in ("-h", "--help"):
            names = ", ".join(words())
            raise click.UsageError(
                f"what to record is missing: sonde record PROBE {shlex.join(args)}: valid: {names}", ctx
            )
        return super().parse_args(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List what can be recorded."""
        rows: list[tuple[str, str]] = []
        for name in probe_names():
            outputs: Sequence[Table | Stream] = find_probe(name).outputs
            rows += [
                (f"{name}.{output.name}", f"{output.summary[0].upper()}{output.summary[1:]}.")
                for output in outputs
            ]
        with formatter.section("Outputs"):
            formatter.write_dl(rows)


def _names_a_probe(word: str) -> bool:
    return word.partition(",")[0].partition(".")[0] in probe_names()
