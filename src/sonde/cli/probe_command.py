"""A verb and a probe: one command, put together from what both declare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from sonde.cli.behind import Line, MeasuringCommand
from sonde.cli.knob_option import knob_option, value_of
from sonde.cli.measurement import Measurement, measure
from sonde.cli.options import run_options
from sonde.cli.request import requested, selecting
from sonde.cli.selection import check_selection, selection_from, selection_options, why_filtered
from sonde.cli.verb import Verb, epilog, verbs_for
from sonde.probe import RATE_MAX, Knob, Probe, Stream, Table


class ProbeCommand(MeasuringCommand):
    """A verb and a probe: the options of both, and a command to start behind ``--``."""

    def __init__(self, verb: Verb, probe: Probe) -> None:
        self.verb, self.probe = verb, probe
        self.outputs = verb.outputs(probe)
        super().__init__(
            probe.name,
            params=[
                *self._probe_options(),
                *selection_options([probe]),
                *run_options(verb.formats),
                *verb.options(self.outputs),
            ],
            help=f"{verb.summary}\n\nProbe {probe.name}: {probe.summary}.",
            short_help=f"{probe.summary}.",
            epilog=epilog(verb, probe),
            options_metavar="[OPTIONS] [-- COMMAND …]" if probe.selects_processes else "[OPTIONS]",
        )

    def _probe_options(self) -> list[click.Parameter]:
        chosen = [
            click.Option(
                [output.flag, f"output_{output.name}"], is_flag=True, help=f"{output.summary.capitalize()}."
            )
            for output in self.outputs
            if isinstance(output, Table) and output.flag
        ]
        names = {output.name for output in self.outputs}
        return [
            *chosen,
            *(
                knob_option(knob, is_hidden=bool(knob.outputs) and not names & set(knob.outputs))
                for knob in self.probe.knobs
            ),
        ]

    def invoke(self, ctx: click.Context) -> int:
        """Measure."""
        line: Line = ctx.obj
        options = {**ctx.params, "format": self._format(ctx)}
        values = {knob.name: value_of(knob, options[f"knob_{knob.name}"]) for knob in self.probe.knobs}
        values = {name: value for name, value in values.items() if value is not None}
        if options.get(RATE_MAX) is not None:
            values[RATE_MAX] = options[RATE_MAX]
        output = self._output(ctx, values)
        check_selection(ctx, [self.probe], line.command)
        selection = selection_from(ctx, self.probe)
        left_out = requested(ctx, line, only=selecting(self.probe))
        return measure(
            Measurement(
                probe=self.probe,
                output=output,
                selection=selection,
                values=values,
                options=options,
                command=line.command,
                histograms=self.verb.reads_histograms(options),
                title=f"sonde {self.verb.name} {self.probe.name}",
                request=" ".join(requested(ctx, line)),
                filtered=why_filtered(left_out, self.probe, selection, line.command),
            ),
            self.verb.make_sink,
        )

    def _format(self, ctx: click.Context) -> str:
        try:
            found = self.verb.formats.chosen(ctx.params["format"], ctx.params["path"])
        except ValueError as error:
            raise click.UsageError(str(error), ctx) from error
        self.verb.formats.check(found, ctx.params)
        return found

    def _output(self, ctx: click.Context, values: Mapping[str, Any]) -> Table | Stream:
        """Find the output that was asked for, or the first that all the knobs go with."""
        asked = [output for output in self.outputs if ctx.params.get(f"output_{output.name}")]
        if len(asked) > 1:
            flags = " and ".join(output.flag for output in asked if isinstance(output, Table))
            raise click.UsageError(f"{flags} exclude each other: give one", ctx)
        for output in asked or self.outputs:
            if all(knob.goes_with(output) for knob in self.probe.knobs if knob.name in values):
                return output
        wrong = next(
            knob
            for knob in self.probe.knobs
            if knob.name in values and not knob.goes_with((asked or self.outputs)[0])
        )
        what = f"{asked[0].flag} and {wrong.flag}" if asked and isinstance(asked[0], Table) else wrong.flag
        hint = "leave one out" if asked else f"it is for {_commands_for(self.probe, wrong)}"
        raise click.UsageError(f"{what} cannot be had here: {hint}", ctx)


def _commands_for(probe: Probe, knob: Knob) -> str:
    outputs = [output for output in probe.outputs if output.name in knob.outputs]
    verbs = dict.fromkeys(verb for output in outputs for verb in verbs_for(output))
    return " and ".join(f"sonde {verb} {probe.name}" for verb in verbs)
