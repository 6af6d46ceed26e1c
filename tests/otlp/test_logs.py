"""Batches of a stream become log records: read back and compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from otlp.reading import attributes_of, log_records_in
from otlp.shapes import TIME_NS, column
from sonde.exporters.otlp.logs import SEMANTIC_NAMES, LogsEncoder
from sonde.exporters.otlp.wire import varint, varints
from sonde.records.model import Column, RecordBatch, Schema


def batch(columns: dict[str, Any], *, meanings: dict[str, str] | None = None, scale: int = 1) -> RecordBatch:
    meanings = meanings or {}
    schema = Schema("syscalls.calls", tuple(Column(name, meanings.get(name, "")) for name in columns))
    return RecordBatch(schema, columns, time_ns=TIME_NS, scale=scale)


def read(
    of: RecordBatch, *, size_max_bytes: int = 4_000_000, resource: dict[str, Any] | None = None
) -> list[Any]:
    found = []
    for request in LogsEncoder(size_max_bytes=size_max_bytes).requests([of], resource=resource or {}):
        assert len(request.body) <= size_max_bytes
        found.append(ExportLogsServiceRequest.FromString(request.body))
    return found


def records(of: RecordBatch) -> list[Any]:
    return log_records_in(read(of))


def test_a_record_says_which_event_when_and_with_what() -> None:
    made = batch(
        {
            "time_ns": np.array([11, 12], np.uint64),
            "pid": np.array([5, 6], np.uint32),
            "comm": column(["bash", "evil\udcff"]),
            "result": np.array([-2, 3], np.int64),
            "args": np.array([[1, 2**64 - 1], [3, 4]], np.uint64),
            "error": column(["ENOENT", None]),
            "is_own": np.array([True, False]),
            "share": np.array([0.5, 1.0]),
            "duration_ns": np.ma.masked_array(np.array([7, 8], np.uint64), mask=[False, True]),
            "time": np.array([TIME_NS - 2, TIME_NS - 1], np.int64),
        },
        meanings={"time_ns": "sonde_time_ns_t"},
    )
    first, second = records(made)
    assert (first.event_name, first.time_unix_nano, first.observed_time_unix_nano) == (
        "sonde.syscalls.calls",
        TIME_NS - 2,
        TIME_NS,
    )
    assert first.severity_number == 9  # SEVERITY_NUMBER_INFO
    assert attributes_of(first) == {
        "process.pid": 5,
        "comm": "bash",
        "result": -2,
        "args": [1, -1],
        "error.type": "ENOENT",
        "is_own": True,
        "share": 0.5,
        "duration_ns": 7,
    }
    assert attributes_of(second) == {
        "process.pid": 6,
        "comm": "evil\\xff",
        "result": 3,
        "args": [3, 4],
        "is_own": False,
        "share": 1.0,
    }


def test_a_stream_without_moments_has_the_time_at_which_it_was_read() -> None:
    (found,) = records(batch({"pid": np.array([5])}))
    assert found.time_unix_nano == found.observed_time_unix_nano == TIME_NS


def test_an_attribute_that_was_added_by_its_name_is_there_once() -> None:
    unknown = np.ma.masked_array(np.array([0]), mask=[True])
    (found,) = records(batch({"pid": np.array([5]), "process.pid": unknown}))
    assert attributes_of(found) == {"process.pid": 5}


def test_sampled_records_say_what_they_stand_for() -> None:
    (found,) = records(batch({"pid": np.array([5])}, scale=10))
    assert attributes_of(found) == {"process.pid": 5, "sonde.sampled_1_in": 10}


def test_records_are_split_and_the_resource_is_in_every_request() -> None:
    made = batch({"number": np.arange(5_000)})
    requests = read(made, size_max_bytes=10_000, resource={"service.name": "sonde"})
    assert len(requests) > 10
    assert [attributes_of(each)["number"] for each in log_records_in(requests)] == list(range(5_000))
    assert {attributes_of(each.resource_logs[0].resource)["service.name"] for each in requests} == {"sonde"}


def test_no_two_columns_have_one_name() -> None:
    assert len(set(SEMANTIC_NAMES.values())) == len(SEMANTIC_NAMES)


KINDS = {
    "u8": (0, 2**64 - 1),
    "u4": (0, 2**32 - 1),
    "u1": (0, 255),
    "i8": (-(2**63), 2**63 - 1),
    "i2": (-(2**15), 2**15 - 1),
}


@settings(deadline=None)
@given(st.data())
def test_any_columns_come_back(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 12))
    columns: dict[str, Any] = {}
    for at, kind in enumerate(
        data.draw(st.lists(st.sampled_from([*KINDS, "text", "f8", "rows"]), max_size=5))
    ):
        if kind == "text":
            values = data.draw(st.lists(st.none() | st.text(), min_size=rows, max_size=rows))
            columns[f"c{at}"] = column(values)
        elif kind == "f8":
            numbers = data.draw(st.lists(st.floats(allow_nan=False), min_size=rows, max_size=rows))
            columns[f"c{at}"] = np.array(numbers)
        else:
            width = data.draw(st.integers(0, 3)) if kind == "rows" else 1
            least, most = KINDS["i8" if kind == "rows" else kind]
            numbers = data.draw(
                st.lists(st.integers(least, most), min_size=rows * width, max_size=rows * width)
            )
            dtype = np.int64 if kind == "rows" else np.dtype(kind)
            found = np.array(numbers, dtype)
            columns[f"c{at}"] = found.reshape(rows, width) if kind == "rows" else found
    if not columns:
        return
    for at, record in enumerate(records(batch(columns))):
        told = attributes_of(record)
        for name, values in columns.items():
            value = values[at].tolist() if hasattr(values[at], "tolist") else values[at]
            if value is None or value is np.ma.masked:
                assert name not in told
            elif isinstance(value, int):
                assert told[name] == (value if value < 2**63 else value - 2**64)
            elif not isinstance(value, str) or value.isprintable():
                assert told[name] == value


@given(st.lists(st.integers(0, 2**64 - 1), min_size=1))
def test_numbers_are_encoded_as_protobuf_does(numbers: list[int]) -> None:
    assert varints(np.array(numbers, np.uint64)) == [varint(number) for number in numbers]
