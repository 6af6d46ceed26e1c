"""Options of every measurement: how long, how often, where to."""

from __future__ import annotations

import click

from sonde.cli.formats import ROWS, TABLE, Formats
from sonde.cli.parameter import Count, Descriptor, Duration, OneOf, Output


def run_options(formats: Formats = ROWS) -> list[click.Parameter]:
    """Make the options that say how long, how often and where to, in one of these formats."""
    return [
        click.Option(
            ["--for", "for_s"],
            type=Duration(),
            metavar="TIME",
            help="End after 500ms, 5s, 2m, 1h; else Ctrl-C ends it.",
        ),
        click.Option(
            ["--format"],
            type=OneOf(formats.names, noun="format"),
            default=None if formats.suffixes else TABLE,
            show_default=True,
            help=formats.help,
        ),
        click.Option(
            ["-o", "--output", "path"],
            type=Output(),
            metavar="FILE",
            help="Write to FILE, in the place of what it held; - is standard output.",
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
