"""``sonde profile PROBE``: where time goes, by stack: a flame graph, a file for another program, or the hottest functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from sonde.cli.measurement import Measurement
from sonde.cli.options import interval_option
from sonde.cli.parameter import Count, OneOf
from sonde.cli.profile_formats import FILES, FORMATS
from sonde.cli.verb import Verb, VerbGroup
from sonde.probe import Stream, Table

if TYPE_CHECKING:
    from sonde.records.model import Sink

SORTS = ("self", "total")


def _options(_: Sequence[Table | Stream]) -> list[click.Parameter]:
    return [
        interval_option(),
        click.Option(
            ["--sort"],
            type=OneOf(SORTS, noun="order"),
            metavar="self|total",
            help="Order functions by what they do themselves (self), or with all that they call.",
        ),
        click.Option(
            ["--limit"], type=Count("functions"), metavar="N", help="Show N functions at most; 0: all."
        ),
    ]


def _sink(asked: Measurement) -> Sink:
    from sonde.cli.profiling import file_sink, functions_sink

    return file_sink(asked) if asked.format in FILES else functions_sink(asked)


COMMAND = VerbGroup(
    Verb(
        name="profile",
        short="Where time goes: a flame graph, or the hottest functions.",
        summary="Where time goes, by stack: the hottest functions, or with -o a flame graph or a file for another program.",
        shape="stacks",
        make_sink=_sink,
        options=_options,
        examples=(
            ("sonde profile {probe} --for 10s -o out.html", "a flame graph to look around in"),
            ("sonde profile {probe} --pid 4711", "the hottest functions of one process, live"),
            ("sonde profile {probe} -o out.svg -- make -j4", "a command, from its first call on"),
            ("sonde profile {probe} --for 30s -o out.pb.gz", "for go tool pprof; .folded, .speedscope.json"),
        ),
        formats=FORMATS,
    )
)
