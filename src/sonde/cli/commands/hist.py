"""``sonde hist PROBE``: distributions, one histogram for each group of a table's rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import click

from sonde.cli.measurement import Measurement
from sonde.cli.options import interval_option
from sonde.cli.parameter import Count, Setting, one_of
from sonde.cli.verb import Verb, VerbGroup
from sonde.probe import Stream, Table

if TYPE_CHECKING:
    from sonde.records.model import Sink
    from sonde.views.drawing import Body

PIPE_GROUPS = 10
"""Histograms that go to a pipe, unless --limit says another number; machines get all."""

_WHO = ("pid", "tid", "comm", "error")


def groups_of(outputs: Sequence[Table | Stream]) -> list[str]:
    """Name the columns that a table can be grouped by: those that are no measure."""
    names = dict.fromkeys(name for output in outputs for name in output.columns)
    return [name for name in names if name != "count" and not name.endswith(("_ns", "_bytes"))]


def by_columns(valid: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    """Give what reads the columns of --by; it raises ValueError."""

    def read(text: str) -> tuple[str, ...]:
        names = tuple(name for name in text.replace(",", " ").split() if name)
        if names == ("all",):
            return ()
        return tuple(
            one_of(name, [*valid, "all"] if len(names) == 1 else valid, noun="column") for name in names
        )

    return read


def default_by(valid: Sequence[str]) -> str:
    """Group by what is done, not by who does it."""
    return next((name for name in valid if name not in _WHO), "all")


def _options(outputs: Sequence[Table | Stream]) -> list[click.Parameter]:
    valid = groups_of(outputs)
    return [
        click.Option(
            ["--by"],
            type=Setting("columns", by_columns(valid)),
            metavar="COLUMNS",
            default=default_by(valid),
            show_default=True,
            help=f"One histogram for each of these: {', '.join(valid)}, several with commas, or all together.",
        ),
        interval_option(),
        click.Option(["--delta"], is_flag=True, help="Count what is new since the reading before."),
        click.Option(
            ["--limit"], type=Count("histograms"), metavar="N", help="Show N histograms at most; 0: all."
        ),
    ]


def _sink(asked: Measurement) -> Sink:
    from sonde.cli.writing import writer
    from sonde.views.hist import Hist
    from sonde.views.last import Last

    by, is_flat = asked.options["by"], asked.format == "csv"
    target = writer(
        asked,
        partial(_body, by, asked.output.name),
        columns=Hist.columns(by, flat=is_flat),
        noun="histograms",
    )
    sink = Hist(target, by=by, limit=asked.limit(PIPE_GROUPS), delta=asked.options["delta"], flat=is_flat)
    return Last(sink) if asked.only_at_end else sink


def _body(by: tuple[str, ...], name: str) -> Body:
    from sonde.views.bars import Bars
    from sonde.views.drawing import BarsBody

    return BarsBody(Bars(by, name))


COMMAND = VerbGroup(
    Verb(
        name="hist",
        short="How long things take: histograms.",
        summary="How long things take: the distribution that a probe's table holds, one histogram for each group.",
        shape="histogram",
        make_sink=_sink,
        options=_options,
        examples=(
            ("sonde hist {probe} --for 5s", "the distributions of five seconds"),
            ("sonde hist {probe} --by comm --limit 3", "the three busiest names of processes"),
            ("sonde hist {probe} --by all -- tar cf /dev/null /usr", "one for all that a command does"),
        ),
    )
)
