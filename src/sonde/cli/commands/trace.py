"""``sonde trace PROBE``: the records of a stream, one line each, as they come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from sonde.cli.measurement import Measurement
from sonde.cli.parameter import Count
from sonde.cli.verb import Verb, VerbGroup
from sonde.probe import RATE_MAX, Stream, Table

if TYPE_CHECKING:
    from sonde.records.model import Sink


def _options(outputs: Sequence[Table | Stream]) -> list[click.Parameter]:
    return [
        click.Option(
            ["--rate-max", RATE_MAX],
            type=Count("records"),
            metavar="N",
            help="Take N records a second at most, bounded in the kernel; what is above is counted as lost. 0: no bound.",
        ),
        click.Option(["--limit"], type=Count("records"), metavar="N", help="End after N records; 0: never."),
    ]


def _sink(asked: Measurement) -> Sink:
    from sonde.views.trace import Trace

    columns = asked.columns
    return Trace(
        _writer(asked, columns), columns=columns, limit=asked.options["limit"] or 0, enough=asked.enough
    )


def _writer(asked: Measurement, columns: Sequence[str]) -> Any:
    from sonde.cli.writing import machine_writer, painter, terminal_width
    from sonde.views.roll import RollWriter

    machine = machine_writer(asked, columns)
    if machine is not None:
        return machine
    file = asked.destination.file
    return RollWriter(file, asked.caption, width=terminal_width(asked), paint=painter(asked))


COMMAND = VerbGroup(
    Verb(
        name="trace",
        short="What happens: one line for each event, as it comes.",
        summary="What happens, one line for each event as it comes: the records of a probe's stream.",
        shape="stream",
        make_sink=_sink,
        options=_options,
        examples=(
            ("sonde trace {probe} --pid 4711", "one process, until it ends"),
            ("sonde trace {probe} --comm nginx --limit 10", "the first ten of any process of that name"),
            ("sonde trace {probe} --format json -o out.jsonl -- make", "a command, with all that it starts"),
        ),
    )
)
