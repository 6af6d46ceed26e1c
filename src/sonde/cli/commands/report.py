"""``sonde report FILE``: what sonde record has written, through any view and into any format."""

from __future__ import annotations

from typing import Any

import click

from sonde.cli.formats import ROWS, Formats
from sonde.cli.parameter import Count, Duration, OneOf, Output
from sonde.cli.profile_formats import FILES
from sonde.cli.profile_formats import FORMATS as PROFILE_FORMATS

VIEWS = ("top", "trace", "hist", "profile")
FORMATS = Formats(
    (*ROWS.names, "metrics", "arrow", "parquet", *FILES),
    {
        **PROFILE_FORMATS.suffixes,
        ".ndjson": "json",
        ".arrow": "arrow",
        ".arrows": "arrow",
        ".parquet": "parquet",
    },
    binary=PROFILE_FORMATS.binary,
    without={
        "metrics": ("delta", "sort"),
        **dict.fromkeys(("arrow", "parquet"), ("delta", "sort", "by", "limit")),
        **{name: ("every_s", *options) for name, options in PROFILE_FORMATS.without.items()},
    },
)
EXAMPLES = """\
\b
Examples:
  sonde report calls.arrow                         as sonde top, or trace, showed it at the end
  sonde report both.arrow syscalls.calls           another output than the first
  sonde report calls.arrow --view hist --by comm   the distributions
  sonde report calls.arrow --delta --every 10s     what came in every ten seconds
  sonde report calls.arrow -o calls.parquet        for DuckDB and pandas; also .arrow, .csv, .jsonl
  sonde report cpu.arrow -o cpu.html               a flame graph; also .svg, .folded, .pb.gz, .speedscope.json
  sonde report calls.arrow --info                  where and when it was recorded, how much of what
"""


@click.command(
    name="report", short_help="What sonde record has written, offline, on any machine.", epilog=EXAMPLES
)
@click.argument("file", metavar="FILE", type=click.Path(allow_dash=True))
@click.argument("output", metavar="[PROBE.OUTPUT]", required=False)
@click.option("--view", type=OneOf(VIEWS, noun="view"), help="How to show it: as the command of that name.")
@click.option("--info", "is_info", is_flag=True, help="Say what is in the file.")
@click.option(
    "--every",
    "every_s",
    type=Duration(),
    metavar="TIME",
    help="Show readings this far apart, and the last; else only the last.",
)
@click.option("--delta", is_flag=True, help="Rows hold what is new since the reading before.")
@click.option("--sort", metavar="COLUMN", help="With top: order by this column; with profile: self or total.")
@click.option(
    "--by",
    metavar="COLUMNS",
    help="With hist: one histogram for each of these (all: one); with metrics: more attributes.",
)
@click.option("--limit", type=Count("rows"), metavar="N", help="Show N rows or records at most; 0: all.")
@click.option(
    "--format",
    type=OneOf(FORMATS.names, noun="format"),
    metavar="FORMAT",
    help="table (for people), json, csv, metrics (OpenTelemetry's, as lines of JSON), arrow, parquet; of stacks html, svg, "
    "folded, pprof, speedscope; else as the name of -o FILE says.",
)
@click.option("-o", "--output", "path", type=Output(), metavar="FILE", help="Write to FILE, in the place of what it held; - is standard output.")  # fmt: skip
def COMMAND(**options: Any) -> int:  # noqa: N802  # found by this name
    """Show what sonde record has written: no privileges, no kernel, any machine.

    FILE may be - for standard input; PROBE.OUTPUT says which, where it holds several. Ends with status 1 where the file was cut short, or is damaged: what was whole is
    shown all the same.
    """
    from sonde.cli.report import report

    return report(options)
