"""A report: a captured output through a view, or into another format."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from sonde.cli.commands.hist import by_columns, default_by, groups_of
from sonde.cli.commands.profile import SORTS
from sonde.cli.commands.report import FORMATS
from sonde.cli.destination import Destination
from sonde.cli.formats import TABLE
from sonde.cli.measurement import Captured, Measurement
from sonde.cli.parameter import one_of
from sonde.cli.profile_formats import FILES
from sonde.cli.standard_streams import say
from sonde.cli.verb import VerbGroup
from sonde.errors import CommandError, SondeError, errno_text
from sonde.probe import Probe, Selection, Stream, Table

if TYPE_CHECKING:
    from sonde.records.capture.header import Header, OutputHeader
    from sonde.records.capture.output import CapturedOutput
    from sonde.records.capture.reader import CaptureReader, End
    from sonde.records.model import Sink

STDIN = "-"
_GOES_WITH = {
    "delta": ("top", "hist"),
    "sort": ("top", "profile"),
    "by": ("hist",),
    "every_s": ("top", "hist", "profile"),
}
_CONTRADICTIONS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What a capture that was made to contradict itself can cause further down; of any other origin it would be a bug."""


@dataclass(frozen=True, slots=True)
class Report(Measurement):
    """What was asked for, in the shape that views know; everything happened already, so nothing is redrawn."""

    @property
    def name(self) -> str:
        """The output has its probe's name in its own."""
        return self.output.name

    @property
    def only_at_end(self) -> bool:
        """Readings were chosen already."""
        return False

    @property
    def is_live(self) -> bool:
        """Nothing moves."""
        return False


def report(options: Mapping[str, Any]) -> int:
    """Show a capture; gives the exit status: 1 where it was cut short or is damaged. Raises SondeError, OSError."""
    from sonde.records.capture.reader import CaptureReader

    name = options["file"]
    with ExitStack() as stack:
        file = _opened(name, stack)
        _check_target(file, options["path"])
        reader = CaptureReader(file, name=name)
        try:
            if options["is_info"]:
                from sonde.cli.capture_info import write_info

                write_info(reader, options)
            else:
                _show(reader, options, stack)
        except SondeError:
            raise
        except _CONTRADICTIONS as error:
            why = f"it contradicts itself ({type(error).__name__}: {error})"
            raise CommandError(f"read {name}", why=why, hint="record it again") from error
        assert reader.end is not None, "it was read to its end"
        return _told(name, reader.end)


def _opened(name: str, stack: ExitStack) -> BinaryIO:
    if name == STDIN:
        return sys.stdin.buffer
    try:
        return stack.enter_context(open(name, "rb"))
    except OSError as error:
        hint = "give a file that sonde record wrote"
        raise CommandError(f"read {name}", why=errno_text(error.errno or 0), hint=hint) from error


def _check_target(file: BinaryIO, path: str | None) -> None:
    if path is not None and os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(file.fileno())):
        raise CommandError(
            f"write {path}", why="it is the capture itself", hint="give -o another path", status=2
        )


def _told(name: str, end: End) -> int:
    """Say how the capture ends, where that is too early."""
    if not end.why:
        return 0
    noun = "reading" if end.readings == 1 else "readings"
    say(
        f"sonde: {name}: {end.why} behind byte {end.at_bytes:,}: shown is what was whole, {end.readings:,} {noun}"
    )
    return 1


def _show(reader: CaptureReader, options: Mapping[str, Any], stack: ExitStack) -> None:
    from sonde.records.capture.output import CapturedOutput
    from sonde.records.pipeline import Pipeline

    view, output = _chosen(reader.header, options)
    format_ = _format(view, options)
    for name, views in _GOES_WITH.items():
        is_attribute = name == "by" and options["format"] == "metrics"
        if options[name] and view not in views and not is_attribute:
            flag = "--" + name.removesuffix("_s")
            raise CommandError(flag, why=f"it goes with {' and '.join(views)}, not with {view}", status=2)
    FORMATS.check(format_, options)
    every_s = options["every_s"]
    if options["delta"] and every_s is None:
        every_s = 0.0
    captured = stack.enter_context(CapturedOutput(reader, output, every_s=every_s))
    if captured.is_empty:
        assert reader.end is not None, "it was read to its end"
        why = f"it holds no whole reading of {output.name}" + (
            f": {reader.end.why}" if reader.end.why else ""
        )
        raise CommandError(f"read {options['file']}", why=why)
    sink = _sink(reader.header, captured, view, {**options, "format": format_}, stack)
    Pipeline(captured, sink).run(until=[captured.ended_fileno()])


# ---- what is shown ------------------------------------------------------------------------------------------


def _chosen(header: Header, options: Mapping[str, Any]) -> tuple[str, OutputHeader]:
    """Find the view and the output: as asked for, or the first that go together."""
    outputs = list(header.shown)
    if options["output"] is not None:
        # By the probe its first, as for sonde record, or by the output.
        short = {each.name.partition(".")[0]: each for each in reversed(outputs)}
        short |= {each.name.rpartition(".")[2]: each for each in outputs}
        full = {each.name: each for each in outputs}
        try:
            name = one_of(options["output"], [*full, *sorted(short)], noun="output")
        except ValueError as error:
            raise CommandError(f"report {options['output']}", why=str(error), status=2) from error
        outputs = [full.get(name) or short[name]]
    view = options["view"] or ("profile" if _format_asked(options) in FILES else None)
    if view is None:
        return _views_of(outputs[0])[0], outputs[0]
    found = next((each for each in outputs if view in _views_of(each)), None)
    if found is None:
        names = " and ".join(each.name for each in outputs)
        works = " or ".join(dict.fromkeys(f"--view {each}" for one in outputs for each in _views_of(one)))
        raise CommandError(
            f"--view {view}", why=f"{names} cannot be shown by it", hint=f"{works} works", status=2
        )
    return view, found


def _views_of(output: OutputHeader) -> tuple[str, ...]:
    from sonde.records.frames import COLUMNS
    from sonde.records.histogram import BUCKET

    if output.is_stream:
        return ("trace",)
    profile = ("profile",) if output.weight and {*COLUMNS} <= {*output.schema.names} else ()
    return (*profile, "top", "hist") if output.schema.having(BUCKET) else (*profile, "top")


def _format_asked(options: Mapping[str, Any]) -> str | None:
    """Give the format by its name, or by the file's; None where neither says one."""
    found: str | None = options["format"]
    return found or FORMATS.of_file(options["path"] or "")


def _format(view: str, options: Mapping[str, Any]) -> str:
    """Find the format; raises CommandError for one that the view does not write."""
    found = _format_asked(options)
    try:
        if view == "profile":
            return FORMATS.chosen(found, options["path"])
    except ValueError as error:
        raise CommandError("write a profile", why=str(error), status=2) from error
    if found in FILES:
        raise CommandError(f"--format {found}", why=f"it goes with profile, not with {view}", status=2)
    return found or TABLE


def _sink(
    header: Header, captured: CapturedOutput, view: str, options: Mapping[str, Any], stack: ExitStack
) -> Sink:
    path, output, format_ = options["path"], captured.header, options["format"]
    if format_ in ("arrow", "parquet"):
        return _rows(header, output, format_, options, stack)
    destination = stack.enter_context(Destination(path, for_machines=format_ != "table"))
    if format_ == "metrics":
        return _metrics(header, output, options, destination)
    asked = Report(
        probe=Probe(output.name.partition(".")[0], output.summary),
        output=_declared(output),
        selection=Selection(),
        values={},
        options={**options, **_columns(output, view, options)},
        title=_title(header, output),
        request=_text(output.request),
        filtered=_text(output.filtered),
        destination=destination,
        captured=Captured(
            _text(header.host), header.clocks.get("realtime_ns", 0), frequency_hz=output.frequency_hz
        ),
    )
    command: VerbGroup = importlib.import_module(f"sonde.cli.commands.{view}").COMMAND
    sink: Sink = command.verb.make_sink(asked)
    return sink


def _declared(output: OutputHeader) -> Table | Stream:
    columns, details = output.shown, output.details
    if output.is_stream:
        return Stream(output.name, "", (), output.summary, columns=columns, details=details)
    return Table(
        output.name,
        "",
        (),
        output.summary,
        sort=output.sort,
        columns=columns,
        details=details,
        weight=output.weight,
    )


def _columns(output: OutputHeader, view: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Check the columns that options name against those that there are."""
    try:
        if view == "top" and options["sort"]:
            one_of(options["sort"], output.shown, noun="column")
        if view == "profile" and options["sort"]:
            one_of(options["sort"], SORTS, noun="order")
        if view == "hist":
            valid = groups_of([_declared(output)])
            return {"by": by_columns(valid)(options["by"] or default_by(valid))}
    except ValueError as error:
        raise CommandError("--by" if view == "hist" else "--sort", why=str(error), status=2) from error
    return {}


def _title(header: Header, output: OutputHeader) -> str:
    began = time.strftime("%Y-%m-%d", time.localtime(header.clocks.get("realtime_ns", 0) // 1_000_000_000))
    return f"{output.name} on {_text(header.host)}, {began}"


def _text(words: str) -> str:
    """Give text of the file as a terminal may be given it."""
    from sonde.views.cell import text

    return text(words)


def _metrics(
    header: Header, output: OutputHeader, options: Mapping[str, Any], destination: Destination
) -> Sink:
    from sonde.cli.metric_lines import MetricLines

    if not output.metrics:
        why = f"{output.name} has no metrics"
        raise CommandError("--format metrics", why=why, hint="--format json gives its rows", status=2)
    valid = groups_of([_declared(output)])
    try:
        by = by_columns(valid)(options["by"] or "all")
    except ValueError as error:
        raise CommandError("--by", why=str(error), status=2) from error
    began_ns = header.clocks.get("realtime_ns", 0)
    limit = options["limit"] or sys.maxsize
    return MetricLines(destination.file, output.metrics, by=by, began_ns=began_ns, series_max=limit)


# ---- rows for other programs --------------------------------------------------------------------------------


def _rows(
    header: Header, output: OutputHeader, format_: str, options: Mapping[str, Any], stack: ExitStack
) -> Sink:
    import msgspec

    if format_ == "parquet" and importlib.util.find_spec("pyarrow") is None:
        hint = "pip install sonde[parquet]"
        raise CommandError("write Parquet", why="pyarrow is not installed", hint=hint)
    from sonde.exporters.rows.arrow import ArrowRows, FlatArrays

    file = _binary(options["path"], stack)
    kinds = {column.name: column.kind for column in output.columns}
    metadata = {"sonde.header": msgspec.json.encode(header).decode()}
    arrays = FlatArrays(kinds, is_sampled=int(output.knobs.get("sample") or 1) > 1, metadata=metadata)
    if format_ == "arrow":
        return ArrowRows(file, arrays)
    from sonde.exporters.rows.parquet import ParquetRows

    return ParquetRows(file, arrays)


def _binary(path: str | None, stack: ExitStack) -> BinaryIO:
    if path is None:
        if sys.stdout is None or sys.stdout.isatty():
            raise CommandError(
                "write rows", why="they are no text for a terminal", hint="give -o FILE", status=2
            )
        return sys.stdout.buffer
    try:
        return stack.enter_context(open(path, "wb"))
    except OSError as error:
        raise CommandError(
            f"write {path}", why=errno_text(error.errno or 0), hint="give -o another path"
        ) from error
