"""Metrics and records as lines of JSON that nothing in them can break."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde.exporters.text import encodable
from sonde.records.json_line import unbroken
from sonde.records.rfc3339 import rfc3339

if TYPE_CHECKING:
    from sonde.records.metrics import Series, Snapshot
    from sonde.records.model import RecordBatch

CHUNK_LINES = 1024
"""So many lines are Python values at one time, and go to the file in one write."""

TIME = "time"
_CLOCKS = frozenset({"sonde_time_ns_t"})
"""Meanings of columns that a record's ``time`` says better: readings of the kernel's clock."""

LIKE_ESCAPES = (rb"\\x", rb"\\ud")
"""How JSON has a backslash with what follows it in an escape of ours."""


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some whole lines, as bytes."""

    text: bytes
    lines: int


def metric_chunks(snapshot: Snapshot, *, resource: bool = False) -> Iterator[Chunk]:
    """Give a line for each series."""
    more = {"resource": dict(snapshot.resource)} if resource and snapshot.resource else {}
    for series in snapshot.series:
        for start in range(0, len(series), CHUNK_LINES):
            yield _chunk([line | more for line in _points(series, start, start + CHUNK_LINES)])


def record_chunks(batch: RecordBatch, *, resource: Mapping[str, Any] | None = None) -> Iterator[Chunk]:
    """Give a line for each record."""
    more: dict[str, Any] = {"resource": dict(resource)} if resource else {}
    if batch.scale > 1:
        more["sampled_1_in"] = batch.scale
    for start in range(0, len(batch), CHUNK_LINES):
        yield _chunk([line | more for line in _records(batch.picking(slice(start, start + CHUNK_LINES)))])


def _points(series: Series, start: int, end: int) -> Iterator[dict[str, Any]]:
    metric = series.metric
    head = {"metric": metric.name, "kind": metric.kind, "unit": metric.unit}
    now, part = rfc3339(series.time_ns), slice(start, end)
    names = list(series.attributes)
    rows = zip(*(series.attributes[name][part].tolist() for name in names), strict=True)
    values = _histograms(series, part) if metric.kind == "histogram" else _values(series, part)
    moments = map(rfc3339, series.start_ns[part].tolist())
    for row, began, value in zip(rows if names else iter(lambda: (), None), moments, values, strict=False):
        attributes = {name: each for name, each in zip(names, row, strict=True) if each is not None}
        # What a gauge holds has not been gathered since any moment.
        since = {} if metric.kind == "gauge" else {"start": began}
        yield {TIME: now, **since, **head, "attributes": attributes, **value}


def _values(series: Series, part: slice) -> Iterator[dict[str, Any]]:
    return ({"value": value} for value in series.scaled(series.values[part]).tolist())


def _histograms(series: Series, part: slice) -> Iterator[dict[str, Any]]:
    """Give OpenTelemetry's exponential histograms: bucket ``offset + i`` is (2**(k/2**scale), 2**((k+1)/2**scale)]."""
    metric = series.metric
    counts = series.values[part]
    sums = series.scaled(series.totals[part]).tolist() if series.totals is not None else None
    maxima = series.scaled(series.maxima[part]).tolist() if series.maxima is not None else None
    shift = metric.exponent * 2**metric.scale
    for at, row in enumerate(counts):
        hit = row.nonzero()[0].tolist()
        first, last = (hit[0], hit[-1]) if hit else (0, -1)
        yield {
            "count": int(row.sum()),
            **({"sum": sums[at]} if sums is not None else {}),
            **({"max": maxima[at]} if maxima is not None and hit else {}),
            "scale": metric.scale,
            "offset": first + shift,
            "counts": row[first : last + 1].tolist(),
        }


def _records(batch: RecordBatch) -> Iterator[dict[str, Any]]:
    names = [
        column.name
        for column in batch.schema.columns
        if column.meaning not in _CLOCKS and column.name not in (TIME, "is_other")
    ]
    moments = batch[TIME].tolist() if TIME in batch.columns else [batch.time_ns] * len(batch)
    event = batch.schema.name
    for moment, row in zip(moments, batch.rows(names), strict=True):
        attributes = {name: value for name, value in row.items() if value is not None}
        yield {TIME: rfc3339(moment), "event": event, "attributes": attributes}


def _chunk(lines: list[dict[str, Any]]) -> Chunk:
    return Chunk(_encoded(lines), len(lines))


def _encoded(lines: list[dict[str, Any]]) -> bytes:
    import msgspec

    encoder = msgspec.json.Encoder(enc_hook=_plain)
    try:
        text = encoder.encode_lines(lines)
    except UnicodeEncodeError:
        text = LIKE_ESCAPES[0]
    # A name may also look as if a byte were escaped in it.
    if any(each in text for each in LIKE_ESCAPES):
        text = encoder.encode_lines(_encodable(lines))
    return unbroken(text)


def _plain(value: Any) -> Any:
    """Give what the encoder knows for what it does not: NumPy's numbers."""
    return value.item() if hasattr(value, "item") else str(value)


def _encodable(value: Any) -> Any:
    """Escape what is no Unicode text, as in names that processes give themselves, so that no two become one."""
    if isinstance(value, str):
        return encodable(value)
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(each) for each in value]
    return value
