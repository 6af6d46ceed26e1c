"""Records of streams as OTLP log records, column by column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue
from opentelemetry.proto.logs.v1 import logs_pb2 as proto

from sonde.exporters.otlp.attributes import encode_each, key_values
from sonde.exporters.otlp.requests import Envelope, Group, Packer, Request
from sonde.exporters.otlp.scope import resource_field, scope_field
from sonde.exporters.otlp.wire import EightByteFields, framed, framed_each, tag, varints
from sonde.exporters.text import unambiguous

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch, Values

SEMANTIC_NAMES: Mapping[str, str] = {
    "pid": "process.pid",
    "ppid": "process.parent_pid",
    "tid": "thread.id",
    "executable": "process.executable.path",
    "command": "process.command",
    "uid": "process.user.id",
    "user": "process.user.name",
    "cgroup": "process.linux.cgroup",
    "container_id": "container.id",
    "pod_uid": "k8s.pod.uid",
    "exit_code": "process.exit.code",
    "error": "error.type",
}
"""Columns that OpenTelemetry's semantic conventions have names for; all others keep their own."""

TIME = "time"
"""The column of a stream with the record's moment, in ns since 1970 (enrich/times.py)."""

MONOTONIC = frozenset({"sonde_time_ns_t", "sonde_boottime_ns_t"})
"""Meanings of columns that only this machine can read: moments on clocks that start with it."""

SAMPLED = "sonde.sampled_1_in"

_TIMES = EightByteFields(proto.LogRecord, "time_unix_nano", "observed_time_unix_nano")
_ATTRIBUTE = tag(proto.LogRecord, "attributes")
_KEY, _VALUE = tag(KeyValue, "key"), tag(KeyValue, "value")
_INT, _ARRAY = tag(AnyValue, "int_value"), tag(AnyValue, "array_value")
_ELEMENT = tag(ArrayValue, "values")
_RECORD = tag(proto.ScopeLogs, "log_records")


class LogsEncoder:
    """Makes requests of batches of a stream's records: ``event_name`` is ``sonde.<probe>.<stream>``."""

    def __init__(self, *, size_max_bytes: int) -> None:
        self._size_max_bytes = size_max_bytes

    def requests(self, batches: Sequence[RecordBatch], *, resource: Mapping[str, Any]) -> Iterator[Request]:
        """Give the requests, each encoded when it is asked for."""
        envelope = Envelope(
            (tag(ExportLogsServiceRequest, "resource_logs"), resource_field(proto.ResourceLogs, resource)),
            (tag(proto.ResourceLogs, "scope_logs"), scope_field(proto.ScopeLogs)),
        )
        packer = Packer(envelope, size_max_bytes=self._size_max_bytes)
        return packer.pack(Group(log_records(batch), Envelope()) for batch in batches if len(batch))


def log_records(batch: RecordBatch) -> list[bytes]:
    """Encode each record, with its frame."""
    time_ns = batch.columns.get(TIME, batch.time_ns)
    # What happens all the time is no warning; and some receivers hide what has no severity.
    same: bytes = proto.LogRecord(
        severity_number=proto.SEVERITY_NUMBER_INFO,
        event_name=f"sonde.{batch.schema.name}",
        attributes=key_values({SAMPLED: batch.scale} if batch.scale > 1 else {}),
    ).SerializeToString()
    times = _TIMES.encode(
        len(batch), time_unix_nano=np.ma.filled(time_ns, 0), observed_time_unix_nano=batch.time_ns
    )
    columns = [times, [same] * len(batch)]
    meanings = {column.name: column.meaning for column in batch.schema.columns}
    told = {SEMANTIC_NAMES[name] for name in batch.columns if name in SEMANTIC_NAMES}
    for name, values in batch.columns.items():
        # Who it is of may have been added under an attribute's name; the record's own column knows it better.
        if name != TIME and name not in told and meanings.get(name) not in MONOTONIC:
            columns.append(attribute_column(SEMANTIC_NAMES.get(name, name), values))
    return framed_each(_RECORD, map(b"".join, zip(*columns, strict=True)))


def attribute_column(name: str, values: Values) -> list[bytes]:
    """Encode one attribute of every record; empty where the value is masked."""
    data: Any = np.ma.getdata(values)
    key = framed(_KEY, unambiguous(name).encode())
    if data.dtype.kind in "iu" and data.ndim == 1:
        found = varints(data, prefix=_INT, frames=(_ATTRIBUTE, key + _VALUE))
    elif data.dtype.kind in "iu" and data.ndim == 2:
        found = _arrays(data, key)
    else:
        found = encode_each(_ATTRIBUTE, name, data.tolist())
    if not np.ma.is_masked(values):
        return found
    is_absent: Any = np.ma.getmaskarray(values).reshape(len(found), -1).any(axis=1)
    return [b"" if absent else each for each, absent in zip(found, is_absent.tolist(), strict=True)]


def _arrays(data: Any, key: bytes) -> list[bytes]:
    rows, width = data.shape
    elements = varints(data.reshape(-1), prefix=_INT, frames=(_ELEMENT,))
    joined = (b"".join(elements[at * width : (at + 1) * width]) for at in range(rows))
    arrays = framed_each(_ARRAY, joined)
    return framed_each(_ATTRIBUTE, (key + each for each in framed_each(_VALUE, arrays)))
