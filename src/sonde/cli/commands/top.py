"""``sonde top PROBE``: the rows of a table, the largest first."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from sonde.cli.measurement import Measurement
from sonde.cli.options import interval_option
from sonde.cli.parameter import Count, OneOf
from sonde.cli.verb import Verb, VerbGroup
from sonde.probe import Stream, Table

if TYPE_CHECKING:
    from sonde.records.model import Sink


def _options(outputs: Sequence[Table | Stream]) -> list[click.Parameter]:
    shown = [name for output in outputs for name in output.columns]
    # What rows are ordered by need not be shown.
    columns = list(dict.fromkeys([*shown, *(each.sort for each in outputs if isinstance(each, Table))]))
    return [
        interval_option(),
        click.Option(["--delta"], is_flag=True, help="Rows hold what is new since the reading before."),
        click.Option(
            ["--sort"],
            type=OneOf(columns, noun="column"),
            metavar="COLUMN",
            help=f"Order by a column: {', '.join(columns)}.",
        ),
        click.Option(["--limit"], type=Count("rows"), metavar="N", help="Show N rows at most; 0: all."),
    ]


def _sink(asked: Measurement) -> Sink:
    from sonde.cli.writing import ranked_body, writer
    from sonde.views.last import Last
    from sonde.views.ranking import Ranking
    from sonde.views.top import Top

    assert isinstance(asked.output, Table), "top is a verb for tables"
    columns = asked.columns
    sort = asked.options["sort"] or asked.output.sort
    sink = Top(
        writer(asked, partial(ranked_body, sort), columns=columns, noun="rows"),
        columns=columns,
        ranking=Ranking(sort, asked.limit()),
        delta=asked.options["delta"],
    )
    return Last(sink) if asked.only_at_end else sink


COMMAND = VerbGroup(
    Verb(
        name="top",
        short="Who does most of what: a table, the largest first.",
        summary="Who does most of what: the rows of a probe's table, the largest first, summed in the kernel.",
        shape="table",
        make_sink=_sink,
        options=_options,
        # What is new is told with quantiles of its own.
        reads_histograms=lambda options: bool(options["delta"]),
        examples=(
            ("sonde top {probe}", "all of them, until Ctrl-C"),
            ("sonde top {probe} --for 5s --format json", "rows for a machine, the accounting last"),
            ("sonde top {probe} --pid 4711 --sort comm", "one process, until it ends"),
            ("sonde top {probe} -- ls -lR /etc", "a command, from its first call on"),
        ),
    )
)
