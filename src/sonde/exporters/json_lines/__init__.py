r"""JSON lines: metrics and records as one object a line, in a file that is rotated, or on standard output.

A line of a metric is one series at one moment; values are cumulative since ``start``::

    {"time":"2026-07-01T12:00:05.000000000Z","start":"2026-07-01T12:00:00.000000000Z","metric":"sonde.syscall.count",
     "kind":"counter","unit":"{call}","attributes":{"process.pid":4711},"value":1009}

A histogram has ``count``, ``sum``, ``max``, and OpenTelemetry's exponential buckets instead of ``value``: ``counts[i]``
is of what lies above 2**(k/2**scale) and not above 2**((k+1)/2**scale), k = ``offset`` + i, in the metric's unit. The one
series for all that found no room has the attribute ``otel.metric.overflow``. A line of a record is one event::

    {"time":"2026-07-01T12:00:05.000000123Z","event":"syscalls.calls","attributes":{"pid":4711,"comm":"cat"}}

Times are RFC 3339 in UTC, to the nanosecond. What is unknown is left out. Text is what processes call themselves: bytes
that are no UTF-8 become ``\xff``; control characters, and all that could break a line or turn its direction, are escaped.
"""

from typing import TYPE_CHECKING

from sonde.homes import asked_for

if TYPE_CHECKING:
    from sonde.exporters.json_lines.exporter import JsonLinesExporter
    from sonde.exporters.json_lines.settings import JsonLinesSettings

__all__ = ["JsonLinesExporter", "JsonLinesSettings"]

__getattr__, __dir__ = asked_for(
    __name__,
    {
        "JsonLinesExporter": "sonde.exporters.json_lines.exporter",
        "JsonLinesSettings": "sonde.exporters.json_lines.settings",
    },
)
