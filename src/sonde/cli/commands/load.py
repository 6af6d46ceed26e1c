"""``sonde load FILE``: any BPF object, loaded safely, attached, and watched."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from sonde.cli.attaching import Places, attach, plan
from sonde.cli.behind import MeasuringCommand
from sonde.cli.destination import Destination
from sonde.cli.measurement import INTERVAL_S
from sonde.cli.parameter import Cgroup, Count, Descriptor, Duration, OneOf, Output, Process
from sonde.cli.ready import tell_ready
from sonde.cli.setting import set_text
from sonde.cli.signals import Signals
from sonde.cli.standard_streams import say
from sonde.cli.target import Target
from sonde.errors import CommandError

if TYPE_CHECKING:
    from sonde.bpf.object import Object, ObjectSpec
    from sonde.cli.watch import Stream
    from sonde.views.object import ObjectWriter

PIPE_ENTRIES = 20
EXAMPLES = """\
\b
Examples:
  sonde load counter.bpf.o                          attach as its sections say, show its maps
  sonde load network_monitor.bpf.o --interface lo   an XDP or TC program
  sonde load probe.bpf.o --attach on_open=kprobe:do_sys_openat2 --set min_us=100
  sonde load probe.bpf.o --dry-run                  what is in it, without loading
"""


def _assignments(option: str, noun: str) -> Any:
    def read(
        ctx: click.Context, param: click.Parameter, values: Sequence[str]
    ) -> tuple[tuple[str, str], ...]:
        pairs = []
        for value in values:
            name, sign, text = value.partition("=")
            if not sign or not name or not text:
                raise click.BadParameter(f"{value!r} is no assignment: give {option} {noun}", ctx, param)
            pairs.append((name.strip(), text))
        return tuple(pairs)

    return read


@click.command(
    cls=MeasuringCommand,
    name="load",
    short_help="Any BPF object: load it safely, attach it, watch it.",
    epilog=EXAMPLES,
    options_metavar="[OPTIONS]",
)
@click.argument("file")
@click.option(
    "--interface", multiple=True, metavar="NAME", help="Where XDP and TC programs go; may be given again."
)
@click.option("--cgroup", type=Cgroup(), metavar="PATH", help="Where cgroup programs go.")
@click.option(
    "--pid", type=Process(), metavar="PID", help="The process of uprobes, USDT probes and perf events."
)
@click.option(
    "--attach",
    "attach_to",
    multiple=True,
    metavar="PROGRAM=HOOK",
    callback=_assignments("--attach", "PROGRAM=HOOK, as --attach on_open=kprobe:do_sys_openat2"),
    help="A program's place, in the place of what its section says; none: nowhere.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KNOB=VALUE",
    callback=_assignments("--set", "KNOB=VALUE, as --set min_us=100"),
    help="The value of a constant (const volatile), or of MAP.max_entries and MAP.value_size.",
)
@click.option("--strict", is_flag=True, help="Refuse a file with any permission for group or others.")
@click.option(
    "--sha256", metavar="DIGEST", help="Refuse any other content; the file may then belong to anyone."
)
@click.option("--dry-run", is_flag=True, help="Show what is in the file, and load nothing.")
@click.option(
    "--for",
    "for_s",
    type=Duration(),
    metavar="TIME",
    help="End after 500ms, 5s, 2m, 1h; else Ctrl-C ends it.",
)
@click.option(
    "--every",
    "every_s",
    type=Duration(least="10ms", most="1d"),
    metavar="TIME",
    help="Time between two readings of the maps (1s); with a command: only at its end, unless given.",
)
@click.option(
    "--limit", type=Count("entries"), metavar="N", help="Show N entries of each map at most; 0: all."
)
@click.option(
    "--format",
    "format_",
    type=OneOf(("table", "json"), noun="format"),
    default="table",
    show_default=True,
    help="A table for people, or rows for machines.",
)
@click.option("-o", "--output", "path", type=Output(), metavar="FILE", help="Write to FILE, in the place of what it held; - is standard output.")  # fmt: skip
@click.option(
    "--ready-fd", type=Descriptor(), metavar="N", help="Write one byte to descriptor N once attached."
)
@click.pass_context
def COMMAND(ctx: click.Context, /, **options: Any) -> int:  # noqa: N802  # found by this name
    """Load any BPF object, attach its programs, show its maps every interval and its records as they come."""
    from sonde.bpf import ObjectSpec

    with ExitStack() as stack:
        destination = stack.enter_context(
            Destination(options["path"], for_machines=options["format_"] == "json")
        )
        spec = stack.enter_context(
            ObjectSpec.open(options["file"], strict=options["strict"], sha256=options["sha256"])
        )
        for name, text in options["settings"]:
            set_text(spec, name, text)
        if options["dry_run"]:
            from sonde.cli.contents import write_contents

            write_contents(spec, destination, options["format_"])
            return 0
        signals = stack.enter_context(Signals())
        command = ctx.obj.command
        target = stack.enter_context(Target(command)) if command else None
        return _watch(spec, options, destination, signals, target)


def _watch(
    spec: ObjectSpec,
    options: dict[str, Any],
    destination: Destination,
    signals: Signals,
    target: Target | None,
) -> int:
    if target is not None and options["pid"] is not None:
        raise CommandError("load", why="--pid and a command behind -- exclude each other", status=2)
    chosen = plan(spec, _places(options, target))
    with spec.load() as loaded:
        from sonde.bpf.hooks import IteratorLink
        from sonde.cli.watch import Watch, streams_of

        # Before anything is attached: a perf buffer that nobody has opened takes no records.
        streams = streams_of(loaded)
        told = attach(loaded, chosen)
        tell_ready(options["ready_fd"])
        if target is not None:
            target.resume()
        for each in told:
            if each.why_not:
                say(f"sonde: program {each.program} is loaded and not attached: {each.why_not}")
        iterators = [link for link in loaded.links if isinstance(link, IteratorLink)]
        only_at_end = target is not None and options["every_s"] is None
        writer = _writer(options, destination, loaded, streams, is_live=not (target or streams or iterators))
        writer.begin([(each.program, each.section, ", ".join(each.hooks) or "not attached") for each in told])
        watch = Watch(loaded, streams, iterators, writer, only_at_end)
        until = [signals.fileno(), *([target.fileno()] if target else [])]
        watch.run(every_s=options["every_s"] or INTERVAL_S, duration_s=options["for_s"], until=until)
    if target is None:
        return 0
    ended_by_itself = target.has_ended and signals.received is None
    status = target.finish()
    return status if ended_by_itself else 0


def _places(options: dict[str, Any], target: Target | None) -> Places:
    hooks: dict[str, tuple[str, ...]] = {}
    for program, hook in options["attach_to"]:
        hooks[program] = (*hooks.get(program, ()), hook)
    return Places(
        interfaces=options["interface"],
        cgroup=options["cgroup"],
        pid=target.pid if target else options["pid"],
        attach=hooks,
    )


def _writer(
    options: dict[str, Any],
    destination: Destination,
    loaded: Object,
    streams: Sequence[Stream],
    *,
    is_live: bool,
) -> ObjectWriter:
    from sonde.views.line import painted, plain
    from sonde.views.object import JsonObjectWriter, ScreenObjectWriter, TextObjectWriter

    if options["format_"] == "json":
        return JsonObjectWriter(destination.file)
    title = f"sonde load {options['file']}"
    if is_live and destination.is_terminal:
        from sonde.views.screen import Screen

        screen = Screen(destination.file)
        destination.adopt(screen.leave)
        return ScreenObjectWriter(screen, title)
    limit = PIPE_ENTRIES if options["limit"] is None else options["limit"]
    paint = painted if destination.has_colour else plain
    return TextObjectWriter(destination.file, title, limit=limit, paint=paint)
