"""Prometheus's protobuf messages, as client_model declares them, for reading back what we wrote.

The field numbers are those of github.com/prometheus/client_model, io/prometheus/client/metrics.proto (Apache 2.0),
written down here apart from the product's, which writes them.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.internal.decoder import _DecodeVarint32  # type: ignore[attr-defined]

KINDS = descriptor_pb2.FieldDescriptorProto
SCALARS = {
    "string": KINDS.TYPE_STRING,
    "double": KINDS.TYPE_DOUBLE,
    "uint64": KINDS.TYPE_UINT64,
    "uint32": KINDS.TYPE_UINT32,
    "int32": KINDS.TYPE_INT32,
    "int64": KINDS.TYPE_INT64,
    "sint32": KINDS.TYPE_SINT32,
    "sint64": KINDS.TYPE_SINT64,
}
MESSAGES = {
    "LabelPair": "1 string name, 2 string value",
    "Timestamp": "1 int64 seconds, 2 int32 nanos",
    "Gauge": "1 double value",
    "Counter": "1 double value, 3 Timestamp created_timestamp",
    "Bucket": "1 uint64 cumulative_count, 2 double upper_bound",
    "BucketSpan": "1 sint32 offset, 2 uint32 length",
    "Histogram": (
        "1 uint64 sample_count, 2 double sample_sum, 3 Bucket* bucket, 5 sint32 schema, 6 double zero_threshold,"
        " 7 uint64 zero_count, 12 BucketSpan* positive_span, 13 sint64* positive_delta,"
        " 15 Timestamp created_timestamp"
    ),
    "Metric": "1 LabelPair* label, 2 Gauge gauge, 3 Counter counter, 7 Histogram histogram, 6 int64 timestamp_ms",
    "MetricFamily": "1 string name, 2 string help, 3 int32 type, 4 Metric* metric",
}
COUNTER, GAUGE, HISTOGRAM = 0, 1, 4


def _family_class() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="metrics.proto", package="client", syntax="proto2")
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(","):
            number, kind, label = field.split()
            plain = kind.rstrip("*")
            added = message.field.add(name=label, number=int(number))
            added.label = KINDS.LABEL_REPEATED if kind.endswith("*") else KINDS.LABEL_OPTIONAL
            if plain in SCALARS:
                added.type = SCALARS[plain]
            else:
                added.type, added.type_name = KINDS.TYPE_MESSAGE, f".client.{plain}"
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("client.MetricFamily"))


FAMILY = _family_class()


def families(page: bytes) -> dict[str, Any]:
    """Read a delimited page; a field that nobody declared is an error."""
    found: dict[str, Any] = {}
    at = 0
    while at < len(page):
        size, at = _DecodeVarint32(page, at)
        family = FAMILY.FromString(page[at : at + size])
        assert at + size <= len(page)
        assert not _has_unknown(family), family
        assert family.name not in found
        found[family.name] = family
        at += size
    return found


def labels(metric: Any) -> dict[str, str]:
    """Give a metric's labels; none twice."""
    pairs = [(pair.name, pair.value) for pair in metric.label]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def _has_unknown(message: Any) -> bool:
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)):
        return True
    for field, value in message.ListFields():
        if field.message_type is not None:
            each = value if hasattr(value, "append") or hasattr(value, "add") else [value]
            if any(_has_unknown(one) for one in each):
                return True
    return False
