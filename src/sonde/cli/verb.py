"""Verbs over probes: any view, for any probe that has the shape it needs."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

from sonde.cli.behind import Line, MeasuringCommand
from sonde.cli.measurement import Measurement, measure
from sonde.cli.parameter import Count, Descriptor, Duration, OneOf, Setting, unknown
from sonde.cli.selection import selection_from, selection_options, why_filtered
from sonde.errors import CommandError
from sonde.probe import Knob, Probe, Stream, Table
from sonde.probes import probe as find_probe
from sonde.probes import probe_names

FORMATS = ("table", "json", "csv")


@dataclass(frozen=True, slots=True)
class Verb:
    """A view as a command: what it needs, what it can be told, and how it makes its sink.

    ``options`` are the view's own, ``examples`` are full command lines with what they do; ``{probe}`` stands for the
    probe's name.
    """

    name: str
    short: str
    summary: str
    shape: Literal["table", "stream", "histogram"]
    make_sink: Callable[[Measurement], Any]
    options: Callable[[Sequence[Table | Stream]], list[click.Parameter]]
    examples: tuple[tuple[str, str], ...]

    def outputs(self, probe: Probe) -> Sequence[Table | Stream]:
        """Give what the verb can show of a probe."""
        if self.shape == "stream":
            return probe.streams
        return [table for table in probe.tables if self.shape == "table" or has_histogram(table)]


def has_histogram(output: Table | Stream) -> bool:
    """Tell whether a table's rows hold a distribution: what they count is in ``NAME_buckets`` then."""
    return isinstance(output, Table) and any(name.endswith("_buckets") for name in output.counted)


def verbs_for(output: Table | Stream) -> list[str]:
    """Name the verbs that can show an output."""
    if isinstance(output, Stream):
        return ["trace"]
    return ["top", "hist"] if has_histogram(output) else ["top"]


class VerbGroup(click.Group):
    """A verb: its commands are the probes that have the shape."""

    def __init__(self, verb: Verb) -> None:
        super().__init__(
            verb.name,
            help=f"{verb.summary}\n\nsonde {verb.name} PROBE --help shows the options.",
            short_help=verb.short,
            epilog=_epilog(verb, next(iter(probe_names()), "PROBE")),
            no_args_is_help=True,
            subcommand_metavar="PROBE [OPTIONS] [-- COMMAND …]",
        )
        self.verb = verb

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
                hint=" and ".join(f"sonde {verb} {cmd_name}" for verb in works) + " works",
                status=2,
            )
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
        with formatter.section("Probes"):
            formatter.write_dl(rows)


class ProbeCommand(MeasuringCommand):
    """A verb and a probe: the options of both, and a command to start behind ``--``."""

    def __init__(self, verb: Verb, probe: Probe) -> None:
        self.verb, self.probe = verb, probe
        self.outputs = verb.outputs(probe)
        super().__init__(
            probe.name,
            params=[
                *self._probe_options(),
                *selection_options(),
                *run_options(),
                *verb.options(self.outputs),
            ],
            help=f"{verb.summary}\n\nProbe {probe.name}: {probe.summary}.",
            short_help=f"{probe.summary}.",
            epilog=_epilog(verb, probe.name),
            options_metavar="[OPTIONS] [-- COMMAND …]",
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
                _knob_option(knob, is_hidden=bool(knob.outputs) and not names & set(knob.outputs))
                for knob in self.probe.knobs
            ),
        ]

    def invoke(self, ctx: click.Context) -> int:
        """Measure."""
        line: Line = ctx.obj
        options = ctx.params
        values = {knob.name: _value_of(knob, options[f"knob_{knob.name}"]) for knob in self.probe.knobs}
        values = {name: value for name, value in values.items() if value is not None}
        output = self._output(ctx, values)
        selection = selection_from(ctx, line.command)
        request = _request(ctx, line)
        selecting = _request(ctx, line, only=_selecting(self.probe))
        return measure(
            Measurement(
                probe=self.probe,
                output=output,
                selection=selection,
                values=values,
                options=options,
                command=line.command,
                title=f"sonde {self.verb.name} {self.probe.name}",
                request=" ".join(request),
                filtered=why_filtered(selecting, selection, line.command),
            ),
            self.verb.make_sink,
        )

    def _output(self, ctx: click.Context, values: Mapping[str, Any]) -> Table | Stream:
        """Find the output that was asked for, or the first that all the knobs go with."""
        asked = [output for output in self.outputs if ctx.params.get(f"output_{output.name}")]
        if len(asked) > 1:
            flags = " and ".join(output.flag for output in asked if isinstance(output, Table))
            raise click.UsageError(f"{flags} exclude each other: give one", ctx)
        for output in asked or self.outputs:
            if all(_goes_with(knob, output) for knob in self.probe.knobs if knob.name in values):
                return output
        wrong = next(
            knob
            for knob in self.probe.knobs
            if knob.name in values and not _goes_with(knob, (asked or self.outputs)[0])
        )
        what = f"{asked[0].flag} and {wrong.flag}" if asked and isinstance(asked[0], Table) else wrong.flag
        hint = "leave one out" if asked else f"it is for {_commands_for(self.probe, wrong)}"
        raise click.UsageError(f"{what} cannot be had here: {hint}", ctx)


def run_options() -> list[click.Parameter]:
    """Make the options that say how long, how often and where to."""
    return [
        click.Option(
            ["--for", "for_s"],
            type=Duration(),
            metavar="TIME",
            help="End after 500ms, 5s, 2m, 1h; else Ctrl-C ends it.",
        ),
        click.Option(
            ["--format"],
            type=OneOf(FORMATS, noun="format"),
            default="table",
            show_default=True,
            help="A table for people, or rows for machines.",
        ),
        click.Option(
            ["-o", "--output", "path"], metavar="FILE", help="Write to FILE, in the place of what it held."
        ),
        click.Option(
            ["--ready-fd"],
            type=Descriptor(),
            metavar="N",
            help="Write one byte to descriptor N once attached.",
        ),
        click.Option(
            ["--max-entries"],
            type=Count("entries", least=1),
            metavar="N",
            help="Room in the kernel: a table's rows, a stream's bytes.",
        ),
    ]


def interval_option() -> click.Option:
    """Make the option that says how often a table is shown."""
    return click.Option(
        ["--every", "every_s"],
        type=Duration(least="10ms", most="1d"),
        metavar="TIME",
        help="Time between two readings (1s); with a command: only at its end, unless given.",
    )


def _knob_option(knob: Knob, *, is_hidden: bool) -> click.Option:
    names = [knob.flag, f"knob_{knob.name}"]
    text = f"{knob.help[0].upper()}{knob.help[1:]}."
    if knob.type is bool:
        return click.Option(names, is_flag=True, help=text, hidden=is_hidden)
    # Given more than once, lists grow and single values are replaced.
    kind = Setting(knob.name, knob.type)
    return click.Option(
        names, type=kind, metavar=knob.metavar or None, multiple=True, help=text, hidden=is_hidden
    )


def _value_of(knob: Knob, given: Any) -> Any:
    if knob.type is bool:
        return True if given else None
    if not given:
        return None
    if all(isinstance(value, tuple) for value in given):
        return tuple(item for value in given for item in value)
    return given[-1]


def _goes_with(knob: Knob, output: Table | Stream) -> bool:
    return not knob.outputs or output.name in knob.outputs


def _commands_for(probe: Probe, knob: Knob) -> str:
    outputs = [output for output in probe.outputs if output.name in knob.outputs]
    verbs = dict.fromkeys(verb for output in outputs for verb in verbs_for(output))
    return " and ".join(f"sonde {verb} {probe.name}" for verb in verbs)


def _selecting(probe: Probe) -> set[str]:
    return {
        "pid",
        "children",
        "comm",
        "cgroup",
        *(f"knob_{knob.name}" for knob in probe.knobs if knob.name != "sample"),
    }


_SILENT = {"path", "format", "ready_fd", "for_s"}


def _request(ctx: click.Context, line: Line, *, only: set[str] | None = None) -> list[str]:
    """Give back what was asked for, as it would be typed: for headings."""
    words = []
    for parameter in ctx.command.get_params(ctx):
        if not isinstance(parameter, click.Option) or parameter.name is None:
            continue
        if parameter.name in _SILENT or (only is not None and parameter.name not in only):
            continue
        if ctx.get_parameter_source(parameter.name) is not click.core.ParameterSource.COMMANDLINE:
            continue
        flag = max(parameter.opts, key=len)
        words.append(flag if parameter.is_flag else f"{flag} {_typed(flag, line.words)}")
    if line.command and only is None:
        words.append(f"-- {shlex.join(line.command)}")
    return words


def _typed(flag: str, words: Sequence[str]) -> str:
    """Find what was typed behind a flag."""
    found = []
    for at, word in enumerate(words):
        if word == flag and at + 1 < len(words):
            found.append(words[at + 1])
        elif word.startswith(f"{flag}="):
            found.append(word[len(flag) + 1 :])
    return shlex.quote(",".join(found)) if found else "…"


def _epilog(verb: Verb, probe: str) -> str:
    lines = [(line.format(probe=probe), what) for line, what in verb.examples]
    width = max(len(line) for line, _ in lines)
    return "\b\nExamples:\n" + "\n".join(f"  {line:<{width}}  {what}" for line, what in lines)
