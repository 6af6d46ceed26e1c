"""What is in a capture: where and when it was made, and how much of what it holds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sonde.cli.destination import Destination
from sonde.records.accounting import Accounting

if TYPE_CHECKING:
    from sonde.records.capture.header import Header, OutputHeader
    from sonde.records.capture.reader import CaptureReader
    from sonde.records.model import RecordBatch


@dataclass(slots=True)
class Content:
    """What there is of one output."""

    output: OutputHeader
    readings: int = 0
    rows: int = 0
    first_ns: int = 0
    last_ns: int = 0
    accounting: Accounting = field(default_factory=Accounting)

    def add(self, batch: RecordBatch) -> None:
        """Count one reading."""
        self.readings += 1
        self.rows = self.rows + len(batch) if self.output.is_stream else len(batch)
        self.first_ns = self.first_ns or batch.time_ns
        self.last_ns, self.accounting = batch.time_ns, batch.accounting


def write_info(reader: CaptureReader, options: Mapping[str, Any]) -> None:
    """Write it for people or machines."""
    contents = {output.name: Content(output) for output in reader.header.shown}
    for batch in reader.readings():
        contents[batch.schema.name].add(batch)
    is_json = options["format"] == "json"
    with Destination(options["path"], for_machines=is_json) as destination:
        if is_json:
            from sonde.views.json import JsonWriter

            JsonWriter(destination.file).line(_as_dict(reader.header, contents))
            return
        for line in _lines(reader.header, contents):
            destination.file.write(line + "\n")


def _as_dict(header: Header, contents: Mapping[str, Content]) -> dict[str, Any]:
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(header)
    found["outputs"] = [each for each in found["outputs"] if each["name"] in contents]
    for output in found["outputs"]:
        content = contents[output["name"]]
        output |= {
            "readings": content.readings,
            "rows": content.rows,
            "accounting": content.accounting.as_dict(),
        }
    return found


def _lines(header: Header, contents: Mapping[str, Content]) -> list[str]:
    from sonde.views.cell import text
    from sonde.views.equation import equation
    from sonde.views.line import plain

    began = header.clocks.get("realtime_ns", 0)
    where = f"{text(header.host)} (Linux {text(header.kernel)}, {text(header.machine)})"
    lines = [f"recorded on {where} at {_moment(began)} by sonde {text(header.sonde)}"]
    for name, content in contents.items():
        output = content.output
        lines += ["", f"{name}: {text(output.summary)}", f"  {_extent(content, began)}"]
        if output.request:
            lines.append(f"  asked for: {text(output.request)}")
        lines += [f"  {plain(line)}" for line in equation(content.accounting, filtered=text(output.filtered))]
    return lines


def _extent(content: Content, began_ns: int) -> str:
    from sonde.views.cell import duration

    if not content.readings:
        return "not one whole reading"
    lasted = duration(max(0, content.last_ns - began_ns))
    if content.output.is_stream:
        return f"{content.rows:,} record{'s' * (content.rows != 1)} in {lasted}"
    readings = f"{content.readings:,} reading{'s' * (content.readings != 1)}"
    return f"{readings} in {lasted}, the last of {content.rows:,} row{'s' * (content.rows != 1)}"


def _moment(time_ns: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(time_ns // 1_000_000_000))
