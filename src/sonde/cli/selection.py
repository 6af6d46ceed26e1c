"""Whose events are measured: the options of probes that select processes, and of those on interfaces."""

from __future__ import annotations

from collections.abc import Sequence

import click

from sonde.cli.on_interfaces import interface_options
from sonde.cli.parameter import ONE, Cgroup, Comm, Process
from sonde.cli.request import typed
from sonde.exporters.text import visible
from sonde.probe import Probe, Selection

OF_PROCESSES = ("pid", "children", "comm", "cgroup", "own")
OF_INTERFACES = ("interfaces", "exclude_interfaces")
SINGLE = ("pid", "comm", "cgroup")


def selection_options(probes: Sequence[Probe]) -> list[click.Parameter]:
    """Make the options; those that go with none of the probes are hidden, so that it can be said why."""
    of_processes = any(probe.selects_processes for probe in probes)
    return [
        *_process_options(hidden=not of_processes),
        *interface_options(hidden=not any(probe.on_interfaces for probe in probes)),
    ]


def _process_options(*, hidden: bool) -> list[click.Parameter]:
    return [
        click.Option(
            ["-p", "--pid"],
            type=Process(),
            metavar="PID",
            help="Only this process, and until it ends.",
            hidden=hidden,
        ),
        click.Option(
            ["--children"],
            is_flag=True,
            help="With --pid: also all that it starts, or has started; until Ctrl-C.",
            hidden=hidden,
        ),
        click.Option(
            ["--comm"], type=Comm(), metavar="NAME", help="Only processes of this name.", hidden=hidden
        ),
        click.Option(
            ["--cgroup"],
            type=Cgroup(),
            metavar="PATH",
            help="Only what runs in this cgroup (v2) or below.",
            hidden=hidden,
        ),
        click.Option(["--own"], is_flag=True, help="Also what sonde itself does.", hidden=hidden),
    ]


def check_selection(ctx: click.Context, probes: Sequence[Probe], command: Sequence[str]) -> None:
    """Raise click.UsageError for options that go with none of the probes, or that contradict each other."""
    on_interfaces = all(probe.on_interfaces for probe in probes)
    of_processes = all(probe.selects_processes for probe in probes)
    of_none = all(not probe.selects_processes and not probe.on_interfaces for probe in probes)
    names = ", ".join(probe.name for probe in probes)
    if on_interfaces:
        what = _first_given(ctx, OF_PROCESSES) or ("a command behind --" if command else "")
        why = f"{names} counts what passes interfaces, of whichever process: select with --interface"
    elif of_none:
        what = _first_given(ctx, OF_PROCESSES + OF_INTERFACES) or ("a command behind --" if command else "")
        knobs = " or ".join(dict.fromkeys(knob.flag for probe in probes for knob in probe.knobs))
        why = f"what {names} counts is no process's doing" + (f": select with {knobs}" if knobs else "")
    else:
        what = _first_given(ctx, OF_INTERFACES) if of_processes else ""
        why = f"{names} is on no interface: select with --pid, --comm or --cgroup"
    if what:
        raise click.UsageError(f"{what} cannot be had here: {why}", ctx)
    for name in SINGLE:
        _check_single(ctx, name)
    options = ctx.params
    if options["children"] and options["pid"] is None:
        raise click.UsageError(
            "--children goes with --pid: give one (a command behind -- is measured with all that it starts)",
            ctx,
        )
    if command and options["pid"] is not None:
        raise click.UsageError("--pid and a command behind -- exclude each other: leave one out", ctx)


def _check_single(ctx: click.Context, name: str) -> None:
    """Raise click.UsageError where an option is there twice: the last would count, and the others be left out silently."""
    option = next((each for each in ctx.command.params if each.name == name), None)
    given = typed(option.opts, ctx.obj.words) if option is not None else []
    if len(given) > 1:
        flag = max(option.opts, key=len) if option is not None else name
        raise click.UsageError(f"{flag} is there {len(given)} times: {ONE}", ctx)


def _first_given(ctx: click.Context, names: Sequence[str]) -> str:
    given = (each for each in ctx.command.params if each.name in names and ctx.params.get(each.name or ""))
    return next((max(each.opts, key=len) for each in given), "")


def selection_from(ctx: click.Context, probe: Probe) -> Selection:
    """Make a probe's selection; the started command's process is filled in when there is one."""
    names = OF_INTERFACES if probe.on_interfaces else OF_PROCESSES if probe.selects_processes else ()
    return Selection(**{name: ctx.params[name] for name in names})


def why_filtered(request: Sequence[str], probe: Probe, selection: Selection, command: Sequence[str]) -> str:
    """Say why events of this run are left out, for the line below the accounting."""
    reasons = []
    if command and probe.selects_processes:
        reasons.append(f"all but {visible(command[0])} and what it starts")
    if request:
        reasons.append(f"what {' '.join(request)} leaves out")
    if not selection.own and probe.selects_processes:
        reasons.append("sonde's own (--own counts them)")
    return ", ".join(reasons)
