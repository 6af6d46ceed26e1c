"""A measurement: a probe's output started, written to its destination until it ends, and accounted for."""

from __future__ import annotations

import errno
import importlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sonde.cli.destination import Destination
from sonde.cli.on_interfaces import told_interfaces
from sonde.cli.ready import tell_ready
from sonde.cli.signals import Signals
from sonde.cli.target import Target
from sonde.errors import CommandError, KernelError
from sonde.probe import Probe, Selection, Stream, Table

if TYPE_CHECKING:
    from sonde.records.model import Sink
    from sonde.run import Run
    from sonde.views.drawing import Caption

INTERVAL_S = 1.0
PIPE_ROWS = 20
"""Rows of a table that goes to a pipe, unless --limit says another number; machines get all."""


@dataclass(frozen=True, slots=True)
class Captured:
    """Where and when a capture was begun, and how often it sampled (0: it did not)."""

    host: str
    began_ns: int
    frequency_hz: float = 0.0


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was asked for on the command line.

    ``options`` are all options by name; ``histograms`` is whether buckets are read; ``title``, ``request`` and ``filtered`` stand in headings and below them.
    ``destination`` is open when the sink is made, ``notes`` gives lines below headings, and ``enough`` ends it all.
    ``began_ns`` is when everything was attached; ``captured`` is there where that was before, and is read from a file.
    """

    probe: Probe
    output: Table | Stream
    selection: Selection
    values: Mapping[str, Any]
    options: Mapping[str, Any]
    command: tuple[str, ...] = ()
    histograms: bool = True
    title: str = ""
    request: str = ""
    filtered: str = ""
    destination: Destination = field(default_factory=Destination)
    notes: Callable[[], Sequence[str]] = tuple
    enough: Callable[[], None] = lambda: None
    began_ns: int = 0
    captured: Captured | None = None

    @property
    def name(self) -> str:
        """Give the output's name, with its probe's."""
        return f"{self.probe.name}.{self.output.name}"

    @property
    def format(self) -> str:
        """Give the name of the format."""
        return str(self.options["format"])

    @property
    def columns(self) -> tuple[str, ...]:
        """Name the columns of its rows: more of them for machines."""
        if self.format == "table":
            return self.shown
        return self.output.columns + self.output.details

    @property
    def shown(self) -> tuple[str, ...]:
        """Name those that a person is shown."""
        return self.output.shown(self.values) if isinstance(self.output, Table) else self.output.columns

    @property
    def caption(self) -> Caption:
        """Give what stands around the view."""
        from sonde.views.drawing import Caption

        return Caption(self.title, self.request, self.filtered, self.notes)

    @property
    def only_at_end(self) -> bool:
        """Tell whether only the end is shown: a command shares the terminal, and is measured as a whole."""
        return bool(self.command) and self.options.get("every_s") is None

    @property
    def is_live(self) -> bool:
        """Tell whether a terminal is redrawn in place."""
        return self.format == "table" and self.destination.is_terminal and not self.command

    def limit(self, in_pipe: int = PIPE_ROWS) -> int:
        """Give how many are shown at most, 0 for all: as asked for, or what a person reads of a pipe."""
        asked: int | None = self.options["limit"]
        if asked is not None:
            return asked
        return in_pipe if self.format == "table" and not self.is_live else 0


def measure(asked: Measurement, make_sink: Callable[[Measurement], Sink]) -> int:
    """Run a measurement to its end; gives the exit status: the started command's, unless sonde ended it.

    Raises SondeError and OSError; nothing stays attached, and no command stays stopped.
    """
    with ExitStack() as stack:
        destination = stack.enter_context(
            Destination(asked.options["path"], for_machines=asked.format != "table")
        )
        signals = stack.enter_context(Signals())
        target = stack.enter_context(Target(asked.command)) if asked.command else None
        selection = asked.selection
        if target is not None:
            selection = replace(selection, pid=target.pid, children=True)
        # Before it counts: what ends as soon as that is told has been measured.
        ends = [signals.fileno(), *ends_of(selection, target, stack)]
        if isinstance(asked.output, Stream):
            # A ring fills up in the tenths of a second that this takes; a table only counts on.
            importlib.import_module("numpy")
        run = started(replace(asked, selection=selection), stack)
        attached_at, began_ns = time.monotonic(), time.time_ns()
        tell_ready(asked.options["ready_fd"])
        if target is not None:
            target.resume()
        # NumPy and rich are imported from here on, when the programs of a table count already.
        asked = replace(asked, destination=destination, enough=signals.end, began_ns=began_ns)
        with told_interfaces(run, has_heading=asked.format == "table") as notes:
            _flow(replace(asked, notes=notes), run, make_sink, ends, attached_at)
        if target is None:
            return 0
        ended_by_itself = target.has_ended and signals.received is None
        status = target.finish()
        return status if ended_by_itself else 0


def started(asked: Measurement, stack: ExitStack) -> Run:
    """Start one output; the stack closes it. Raises CommandError (2) where --max-entries cannot be."""
    from sonde.run import Run

    room = asked.options["max_entries"]
    try:
        return stack.enter_context(
            Run(
                asked.probe,
                asked.output.name,
                selection=asked.selection,
                values=asked.values,
                max_entries=room,
                histograms=asked.histograms,
            )
        )
    except KernelError as error:
        if room is None or error.errno not in (errno.E2BIG, errno.ENOMEM):
            raise
        raise CommandError(
            f"--max-entries {room}", why="the kernel has no room for so many", hint="give fewer", status=2
        ) from error


def _flow(
    asked: Measurement,
    run: Run,
    make_sink: Callable[[Measurement], Sink],
    ends: list[int],
    attached_at: float,
) -> None:
    from sonde.records.pipeline import Pipeline

    sink = make_sink(asked)
    pipeline = Pipeline(run, sink, every_s=asked.options.get("every_s") or INTERVAL_S)
    duration_s = asked.options["for_s"]
    if duration_s is not None:
        duration_s = max(0.0, duration_s - (time.monotonic() - attached_at))
    pipeline.run(duration_s=duration_s, until=ends)


def ends_of(selection: Selection, target: Target | None, stack: ExitStack) -> list[int]:
    """Give descriptors that are readable once there is nothing more to measure."""
    if target is not None:
        return [target.fileno()]
    if selection.pid is None or selection.children:
        return []
    try:
        fd = os.pidfd_open(selection.pid)
    except ProcessLookupError as error:
        raise CommandError(f"measure process {selection.pid}", why="it has ended meanwhile") from error
    stack.callback(os.close, fd)
    return [fd]
