"""Prometheus's protobuf format: the only one in which it scrapes native histograms.

Messages are those of io.prometheus.client, each family delimited by its length.
https://github.com/prometheus/client_model/blob/master/io/prometheus/client/metrics.proto
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from sonde.exporters.prometheus import wire
from sonde.exporters.prometheus.buckets import SCHEMAS, classic, first_index, sparse, zero_threshold
from sonde.exporters.prometheus.families import Family, distinct
from sonde.exporters.prometheus.labels import label_rows
from sonde.exporters.varint import varint

if TYPE_CHECKING:
    from sonde.records.metrics import Array, Series

CONTENT_TYPE = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"

ROWS_AT_ONCE = 1024
TYPES = {"counter": 0, "gauge": 1, "histogram": 4}

FAMILY_NAME, FAMILY_HELP, FAMILY_TYPE, FAMILY_METRIC = 1, 2, 3, 4
METRIC_LABEL, METRIC_GAUGE, METRIC_COUNTER, METRIC_HISTOGRAM = 1, 2, 3, 7
LABEL_NAME, LABEL_VALUE = 1, 2
NUMBER_VALUE, COUNTER_CREATED = 1, 3
SAMPLE_COUNT, SAMPLE_SUM, BUCKET, SCHEMA, ZERO_THRESHOLD, ZERO_COUNT = 1, 2, 3, 5, 6, 7
POSITIVE_SPAN, POSITIVE_DELTA, HISTOGRAM_CREATED = 12, 13, 15
BUCKET_COUNT, BUCKET_BOUND = 1, 2
SPAN_OFFSET, SPAN_LENGTH = 1, 2
SECONDS, NANOS = 1, 2


EMPTY_SPAN = wire.message(POSITIVE_SPAN, b"")
"""It says that a histogram without buckets is a native one, too."""


def write_protobuf(family: Family, *, classic_buckets: int) -> Iterator[tuple[bytes, int]]:
    """Write a family, delimited, piece by piece, each with the number of series in it.

    The length stands in front, so all pieces are there before the first is given.
    """
    pieces: list[tuple[bytes, int]] = []
    for series, labels in distinct(family.parts, _labels):
        created = _created(series)
        for begin in range(0, len(series), ROWS_AT_ONCE):
            rows = slice(begin, begin + ROWS_AT_ONCE)
            if family.type == "histogram":
                bodies = _histograms(series, rows, created[rows], classic_buckets)
            else:
                bodies = _numbers(family.type, series, rows, created[rows])
            metric = wire.tag(FAMILY_METRIC, wire.BYTES)
            written = [
                metric + varint(len(label) + len(body)) + label + body
                for label, body in zip(labels[rows], bodies, strict=True)
            ]
            pieces.append((b"".join(written), len(written)))
    head = wire.text(FAMILY_NAME, family.name) + wire.text(FAMILY_HELP, family.help)
    head += wire.integer(FAMILY_TYPE, TYPES[family.type])
    yield varint(len(head) + sum(len(piece) for piece, _ in pieces)) + head, 0
    yield from pieces


def _labels(series: Series) -> list[bytes]:
    return label_rows(series.attributes, rows=len(series), write=_label, between=b"")


def _label(name: str, value: str) -> bytes:
    return wire.message(METRIC_LABEL, wire.text(LABEL_NAME, name) + wire.text(LABEL_VALUE, value))


def _created(series: Series) -> list[bytes]:
    """Write when each count began, a Timestamp; most began together."""
    known: dict[int, bytes] = {}
    found = []
    for start_ns in series.start_ns.tolist():
        written = known.get(start_ns)
        if written is None:
            seconds, nanos = divmod(max(start_ns, 0), 1_000_000_000)
            written = wire.integer(SECONDS, seconds) + wire.integer(NANOS, nanos)
            known[start_ns] = written
        found.append(written)
    return found


def _numbers(kind: str, series: Series, rows: slice, created: list[bytes]) -> Iterator[bytes]:
    values = series.scaled(series.values[rows]).tolist()
    value_tag = wire.tag(NUMBER_VALUE, wire.FIXED64)
    pack = struct.Struct("<d").pack
    if kind == "gauge":
        head = wire.tag(METRIC_GAUGE, wire.BYTES) + varint(9) + value_tag
        return (head + pack(value) for value in values)
    tails = {began: wire.message(COUNTER_CREATED, began) for began in set(created)}
    counter = wire.tag(METRIC_COUNTER, wire.BYTES)
    heads = {began: counter + varint(9 + len(tail)) + value_tag for began, tail in tails.items()}
    return (heads[began] + pack(value) + tails[began] for value, began in zip(values, created, strict=True))


def _histograms(series: Series, rows: slice, created: list[bytes], classic_buckets: int) -> Iterator[bytes]:
    import numpy as np

    metric, counts = series.metric, series.values[rows]
    cumulative = np.cumsum(counts, axis=1)
    if series.totals is None:
        sums = [math.nan] * len(counts)
    else:
        sums = series.scaled(series.totals[rows]).tolist()
    bounds = classic(metric, buckets=counts.shape[1], bounds_max=classic_buckets)
    below = _classic_rows(cumulative[:, np.array(bounds.buckets, np.intp) - 1], np.array(bounds.bounds))
    native = _native_rows(series, counts)
    tails = {began: wire.message(HISTOGRAM_CREATED, began) for began in set(created)}
    count_tag, sum_tag = wire.tag(SAMPLE_COUNT, wire.VARINT), wire.tag(SAMPLE_SUM, wire.FIXED64)
    pack = struct.Struct("<d").pack
    for row, (count, total, began) in enumerate(zip(cumulative[:, -1].tolist(), sums, created, strict=True)):
        numbers = count_tag + varint(count) + sum_tag + pack(total)
        yield wire.message(METRIC_HISTOGRAM, numbers + below[row] + native(row) + tails[began])


def _classic_rows(cumulative: Array, bounds: Array) -> wire.Rows:
    """Write all classic buckets of all rows: each a message of a count and a bound."""
    import numpy as np

    counts, sizes = wire.varints(cumulative)
    rows, buckets = cumulative.shape
    bound_at = 3 + wire.VARINT_BYTES_MAX
    cells = np.zeros((rows, buckets, bound_at + 9), np.uint8)
    cells[..., 0] = wire.tag(BUCKET, wire.BYTES)[0]
    cells[..., 1] = sizes + 10
    cells[..., 2] = wire.tag(BUCKET_COUNT, wire.VARINT)[0]
    cells[..., 3:bound_at] = counts
    cells[..., bound_at] = wire.tag(BUCKET_BOUND, wire.FIXED64)[0]
    cells[..., bound_at + 1 :] = bounds.astype("<f8").view(np.uint8).reshape(buckets, 8)
    at = np.arange(bound_at + 9)
    used = (at < 3 + sizes[..., None]) | (at >= bound_at)
    return wire.Rows(cells[used].tobytes(), used.sum(axis=(1, 2)))


def _native_rows(series: Series, counts: Array) -> Callable[[int], bytes]:
    """Write all native buckets of all rows: the schema, spans, and differences; nothing where there is no schema.

    The kernel's bucket 0 takes zeros too, so it is the zero bucket.
    """
    import numpy as np

    if series.metric.scale not in SCHEMAS:
        return lambda row: b""
    found = sparse(counts[:, 1:], first=first_index(series.metric) + 1)
    spans = _span_rows(wire.zigzags(found.offsets), found.lengths.astype(np.uint64), found.spans_each)
    deltas = wire.packed(wire.zigzags(found.deltas), each=found.deltas_each)
    head = wire.integer(SCHEMA, wire.zigzag(series.metric.scale))
    head += wire.double(ZERO_THRESHOLD, zero_threshold(series.metric)) + wire.tag(ZERO_COUNT, wire.VARINT)
    zeros = counts[:, 0].tolist()
    delta_tag = wire.tag(POSITIVE_DELTA, wire.BYTES)

    def native(row: int) -> bytes:
        differences, zero = deltas[row], varint(zeros[row])
        if not differences:
            return head + zero + EMPTY_SPAN
        return head + zero + spans[row] + delta_tag + varint(len(differences)) + differences

    return native


def _span_rows(offsets: Array, lengths: Array, each: Array) -> wire.Rows:
    """Write spans: each a message of an offset and a length, both small."""
    import numpy as np

    width = wire.VARINT_BYTES_MAX
    offset_cells, offset_sizes = wire.varints(offsets)
    length_cells, length_sizes = wire.varints(lengths)
    cells = np.zeros((len(offsets), 4 + 2 * width), np.uint8)
    cells[:, 0] = wire.tag(POSITIVE_SPAN, wire.BYTES)[0]
    cells[:, 1] = 2 + offset_sizes + length_sizes
    cells[:, 2] = wire.tag(SPAN_OFFSET, wire.VARINT)[0]
    cells[:, 3 : 3 + width] = offset_cells
    cells[:, 3 + width] = wire.tag(SPAN_LENGTH, wire.VARINT)[0]
    cells[:, 4 + width :] = length_cells
    at = np.arange(4 + 2 * width)
    used = (at < 3 + offset_sizes[:, None]) | ((at >= 3 + width) & (at < 4 + width + length_sizes[:, None]))
    sizes = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    upto = np.cumsum(each)
    return wire.Rows(cells[used].tobytes(), sizes[upto] - sizes[upto - each])
