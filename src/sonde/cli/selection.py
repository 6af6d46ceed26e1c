"""Whose events are measured: the options that every probe has."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sonde.cli.parameter import Cgroup, Comm, Process
from sonde.probe import Selection


def selection_options() -> list[click.Parameter]:
    """Make the options."""
    return [
        click.Option(["--pid"], type=Process(), metavar="PID", help="Only this process, and until it ends."),
        click.Option(["--children"], is_flag=True, help="With --pid: also all that it starts; until Ctrl-C."),
        click.Option(["--comm"], type=Comm(), metavar="NAME", help="Only processes of this name."),
        click.Option(
            ["--cgroup"], type=Cgroup(), metavar="PATH", help="Only what runs in this cgroup (v2) or below."
        ),
        click.Option(["--own"], is_flag=True, help="Also what sonde itself does."),
    ]


def selection_from(ctx: click.Context, command: Sequence[str]) -> Selection:
    """Make the selection; the started command's process is filled in when there is one.

    Raises click.UsageError for options that contradict each other.
    """
    options = ctx.params
    if options["children"] and options["pid"] is None:
        raise click.UsageError(
            "--children goes with --pid: give one (a command behind -- is measured with all that it starts)",
            ctx,
        )
    if command and options["pid"] is not None:
        raise click.UsageError("--pid and a command behind -- exclude each other: leave one out", ctx)
    return Selection(
        pid=options["pid"],
        children=options["children"],
        comm=options["comm"],
        cgroup=options["cgroup"],
        own=options["own"],
    )


def why_filtered(request: Sequence[str], selection: Selection, command: Sequence[str]) -> str:
    """Say why events of this run are left out, for the line below the accounting."""
    reasons = []
    if command:
        reasons.append(f"all but {command[0]} and what it starts")
    if request:
        reasons.append(f"what {' '.join(request)} leaves out")
    if not selection.own:
        reasons.append("sonde's own (--own counts them)")
    return ", ".join(reasons)
