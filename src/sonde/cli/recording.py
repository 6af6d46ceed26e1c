"""A recording: outputs of probes started, written to one capture until it ends, and accounted for."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sonde.cli.destination import empty, open_unemptied
from sonde.cli.measurement import INTERVAL_S, Measurement, ends_of, started
from sonde.cli.on_interfaces import told_interfaces
from sonde.cli.profiling import frequency_of
from sonde.cli.ready import tell_ready
from sonde.cli.signals import Signals
from sonde.cli.standard_streams import is_heard, say, width
from sonde.cli.target import Target
from sonde.errors import CommandError, errno_text
from sonde.probe import Selection, Stream, Table

if TYPE_CHECKING:
    from sonde.records.accounting import Accounting
    from sonde.records.capture.header import OutputHeader
    from sonde.records.capture.writer import CaptureSink, CaptureWriter
    from sonde.records.model import RecordBatch
    from sonde.run import Run

STDOUT = "-"


@dataclass(slots=True)
class Recorded:
    """One output that is being recorded; ``count`` is of its records, or of a table's readings."""

    asked: Measurement
    run: Run
    sink: CaptureSink | None = None
    accounting: Accounting | None = None
    count: int = 0

    @property
    def name(self) -> str:
        """Give it as the capture names it."""
        return self.asked.name

    def write(self, batch: RecordBatch) -> None:
        """Write one batch."""
        assert self.sink is not None, "the capture was begun"
        self.sink.write(batch)
        self.count += len(batch) if isinstance(self.asked.output, Stream) else 1

    def close(self, accounting: Accounting) -> None:
        """End."""
        assert self.sink is not None, "the capture was begun"
        self.sink.close(accounting)
        self.accounting = accounting


def record(asked: Sequence[Measurement]) -> int:
    """Record outputs until the end; gives the exit status: the started command's, unless sonde ended it.

    All have the same options and command. Raises SondeError and OSError; nothing stays attached.
    """
    options, command = asked[0].options, asked[0].command
    with ExitStack() as stack:
        fd = _opened(options["path"], stack)
        signals = stack.enter_context(Signals())
        target = stack.enter_context(Target(command)) if command else None
        asked = [_selecting(each, target) for each in asked]
        selection = next((each.selection for each in asked if each.probe.selects_processes), Selection())
        # Before it counts: what ends as soon as that is told has been measured.
        ends = [signals.fileno(), *ends_of(selection, target, stack)]
        importlib.import_module("numpy")
        outputs = [Recorded(each, started(each, stack)) for each in asked]
        began = time.monotonic()
        if target is not None:
            # Before the first reading, which takes its time: all of it would be the command's, stopped.
            target.resume()
        writer = _begun(outputs, fd, options["path"])
        tell_ready(options["ready_fd"])
        _say_beginning(outputs, options["path"], has_end=bool(command) or options["for_s"] is not None)
        with ExitStack() as told:
            for each in outputs:
                told.enter_context(told_interfaces(each.run, has_heading=False))
            _flow(outputs, signals, ends, began)
        _say_end(outputs, writer, options["path"])
        if target is None:
            return 0
        ended_by_itself = target.has_ended and signals.received is None
        status = target.finish()
        return status if ended_by_itself else 0


def _selecting(asked: Measurement, target: Target | None) -> Measurement:
    """Measure a command with all that it starts, where processes can be told apart."""
    if target is None or not asked.probe.selects_processes:
        return asked
    return replace(asked, selection=replace(asked.selection, pid=target.pid, children=True))


def _opened(path: str, stack: ExitStack) -> int:
    """Open the file; it is closed with the stack, and emptied when there is something to write."""
    if path == STDOUT:
        if sys.stdout is None or sys.stdout.isatty():
            hint = "give -o FILE, or pipe it: sonde record -o - … | sonde report -"
            raise CommandError("write the capture", why="it is no text for a terminal", hint=hint, status=2)
        fd = os.dup(sys.stdout.fileno())
    else:
        try:
            fd = open_unemptied(path)
        except OSError as error:
            why = errno_text(error.errno or 0)
            raise CommandError(f"write {path}", why=why, hint="give -o another path") from error
    stack.callback(os.close, fd)
    return fd


def _begun(outputs: Sequence[Recorded], fd: int, path: str) -> CaptureWriter:
    """Begin the capture: what its columns are is known once each output was read."""
    from sonde.records.capture.header import clocks_now, header_here
    from sonde.records.capture.writer import CaptureWriter

    clocks = clocks_now()
    batches = [each.run.read() for each in outputs]
    headers = [_header_of(each, batch) for each, batch in zip(outputs, batches, strict=True)]
    if path != STDOUT:
        empty(fd)
    writer = CaptureWriter(fd, header_here(tuple(headers), clocks), name=path)
    for each, batch in zip(outputs, batches, strict=True):
        each.sink = writer.sink(each.name)
        # What came with the first read of a stream comes with no other.
        if isinstance(each.asked.output, Stream):
            each.write(batch)
    return writer


def _header_of(recorded: Recorded, batch: RecordBatch) -> OutputHeader:
    from sonde.records.capture.header import OutputHeader, columns_of
    from sonde.records.capture.kind import kind_of

    asked, output = recorded.asked, recorded.asked.output
    kinds = {name: kind_of(name, batch[name]) for name in batch.schema.names}
    return OutputHeader(
        name=recorded.name,
        is_stream=isinstance(output, Stream),
        columns=columns_of(batch.schema, kinds),
        summary=output.summary,
        shown=asked.shown,
        details=tuple(each for each in output.details if each in kinds and each not in asked.shown),
        sort=output.sort if isinstance(output, Table) else "",
        knobs=dict(asked.values),
        request=asked.request,
        filtered=asked.filtered,
        every_s=(asked.options["every_s"] or INTERVAL_S) if isinstance(output, Table) else 0.0,
        metrics=output.metrics if isinstance(output, Table) else (),
        **_stacks_of(recorded, batch),
    )


def _stacks_of(recorded: Recorded, batch: RecordBatch) -> dict[str, Any]:
    """Say what the weight of rows of stacks is, and that their frames are written once."""
    from sonde.records.frames import COLUMNS
    from sonde.records.profile import COUNT

    output = recorded.asked.output
    if not isinstance(output, Table) or not output.weight:
        return {}
    has_names = set(COLUMNS) <= set(batch.columns)
    return {
        "weight": output.weight,
        "frequency_hz": frequency_of(recorded.asked) if output.weight == COUNT else 0.0,
        "frames": f"{recorded.name}.frames" if has_names else "",
    }


def _flow(outputs: Sequence[Recorded], signals: Signals, ends: Sequence[int], began: float) -> None:
    """Let each output flow, in a thread of its own; a failure of one ends all."""
    with ThreadPoolExecutor(len(outputs)) as threads:
        flows = [threads.submit(_flow_one, each, ends, began) for each in outputs]
        for flow in flows:
            flow.add_done_callback(lambda ended: signals.end() if ended.exception() else None)
        for flow in flows:
            flow.result()


def _flow_one(recorded: Recorded, ends: Sequence[int], began: float) -> None:
    from sonde.records.pipeline import Pipeline

    options = recorded.asked.options
    pipeline = Pipeline(recorded.run, recorded, every_s=options["every_s"] or INTERVAL_S)
    duration_s = options["for_s"]
    if duration_s is not None:
        duration_s = max(0.0, duration_s - (time.monotonic() - began))
    pipeline.run(duration_s=duration_s, until=ends)


def _say_beginning(outputs: Sequence[Recorded], path: str, *, has_end: bool) -> None:
    if is_heard():
        names = " and ".join(each.name for each in outputs)
        end = "" if has_end else "; Ctrl-C ends it"
        say(f"recording {names} into {path}{end}")


def _say_end(outputs: Sequence[Recorded], writer: CaptureWriter, path: str) -> None:
    from sonde.views.cell import size
    from sonde.views.equation import equation
    from sonde.views.line import plain

    if is_heard():
        # The terminal has echoed ^C at the beginning of this line.
        say("\r\x1b[K", end="")
    columns = width()
    for each in outputs:
        noun = "records" if isinstance(each.asked.output, Stream) else "readings"
        noun = noun.removesuffix("s") if each.count == 1 else noun
        say(f"{each.name}: {each.count:,} {noun}")
        assert each.accounting is not None, "it has ended"
        for line in equation(each.accounting, filtered=each.asked.filtered, width=columns and columns - 2):
            say(f"  {plain(line)}")
    shows = "" if path == STDOUT else f": sonde report {path} shows it"
    say(f"{size(writer.size_bytes)} in {path}{shows}")
