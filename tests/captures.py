"""Captures for tests: outputs with columns of every kind, written as sonde writes them."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from sonde.errors import SondeError
from sonde.records.accounting import Accounting
from sonde.records.capture.header import OutputHeader, columns_of, header_here
from sonde.records.capture.kind import kind_of
from sonde.records.capture.reader import CaptureReader
from sonde.records.capture.writer import CaptureWriter
from sonde.records.model import Column, RecordBatch, Schema

BEGAN_NS = 1_782_907_200_000_000_000
WORDS = [
    "cat",
    "a b",
    "",
    "ünï\u2028",
    "esc\x1b[31m",
    b"no utf8 \xff\x80".decode(errors="surrogateescape"),
    "x" * 15,
]
LOST = {"ring_full": 3, "map_full": 0}


def words(count: int) -> Any:
    """Give text, some of it hard."""
    found = np.empty(count, dtype=object)
    found[:] = [WORDS[at % len(WORDS)] for at in range(count)]
    return found


def masked(values: Any, every: int) -> Any:
    """Make every so-manieth value unknown."""
    return np.ma.masked_array(values, mask=np.arange(len(values)) % every == 0)


def calls(count: int, *, final: bool = False, second: int = 0) -> RecordBatch:
    """Give records of a stream, with columns of every kind."""
    columns: dict[str, Any] = {
        "time_ns": np.arange(count, dtype=np.uint64) + 17,
        "time": np.arange(count, dtype=np.int64) + BEGAN_NS,
        "pid": masked(np.arange(count, dtype=np.uint32), 5),
        "comm": words(count),
        "error": masked(words(count), 2),
        "raw": np.array([b"ab\0c", b"xyz"] * (count // 2 + 1), dtype="S16")[:count],
        "args": np.arange(count * 6, dtype=np.uint64).reshape(count, 6) << np.uint64(40),
        "result": -np.arange(count, dtype=np.int64),
        "share": np.arange(count) / 3,
        "is_new": np.arange(count) % 3 == 0,
        "abi": np.zeros(count, np.uint8),
    }
    meanings = {"time_ns": "sonde_time_ns_t", "comm": "sonde_comm_t", "result": "sonde_result_t"}
    schema = Schema("test.calls", tuple(Column(name, meanings.get(name, "")) for name in columns))
    accounting = Accounting(seen=count + 3, delivered=count, lost=LOST, notes={"odd_ones": 7}, final=final)
    return RecordBatch(schema, columns, accounting, BEGAN_NS + second * 1_000_000_000)


def rows(count: int, *, final: bool = False, second: int = 0, scale: int = 1) -> RecordBatch:
    """Give rows of a table with a histogram; the last is that of all others."""
    buckets = np.arange(count * 88, dtype=np.uint64).reshape(count, 88) % 11 * (second + 1)
    counts = buckets.sum(axis=1)
    columns: dict[str, Any] = {
        "pid": masked(np.arange(count, dtype=np.uint32), 7),
        "comm": words(count),
        "duration_sum_ns": counts * 100,
        "duration_max_ns": np.full(count, 5_000_000, np.uint64),
        "duration_buckets": buckets,
        "is_other": np.arange(count) == count - 1,
        "count": counts,
    }
    meanings = {
        "duration_buckets": "sonde_bucket_t",
        "duration_max_ns": "sonde_max_ns_t",
        "comm": "sonde_comm_t",
    }
    schema = Schema(
        "test.rows", tuple(Column(name, meanings.get(name, ""), name == "pid") for name in columns)
    )
    total = int(counts.sum())
    accounting = Accounting(seen=total + 2, aggregated=total, filtered=2, in_flight=1, final=final)
    return RecordBatch(schema, columns, accounting, BEGAN_NS + second * 1_000_000_000, scale)


def header_of(batch: RecordBatch, **more: Any) -> OutputHeader:
    """Describe an output by one of its batches."""
    kinds = {name: kind_of(name, batch[name]) for name in batch.schema.names}
    is_stream = "count" not in kinds
    shown = (
        ("time", "pid", "comm", "args", "result", "error")
        if is_stream
        else ("pid", "comm", "count", "duration_max_ns")
    )
    given = {"shown": shown, "sort": "" if is_stream else "count", "filtered": "sonde's own", **more}
    return OutputHeader(
        batch.schema.name, is_stream, columns_of(batch.schema, kinds), "what is tested", **given
    )


def write(path: Path, batches: Sequence[RecordBatch], *, ended: bool = True, **more: Any) -> Path:
    """Write a capture of batches, of whatever outputs they are."""
    # What an output's columns are is what the first batch says.
    outputs = {batch.schema.name: header_of(batch, **more) for batch in reversed(batches)}
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    try:
        writer = CaptureWriter(fd, header_here(tuple(outputs.values())), name=str(path))
        sinks = {name: writer.sink(name) for name in outputs}
        for batch in batches:
            sinks[batch.schema.name].write(batch)
        if ended:
            for sink in sinks.values():
                sink.close(Accounting())
    finally:
        os.close(fd)
    return path


def reader(data: bytes) -> CaptureReader:
    return CaptureReader(io.BytesIO(data), name="x.arrow")


def read(data: bytes) -> tuple[list[RecordBatch], str]:
    """Give all readings, and why there are no more."""
    found = reader(data)
    batches = list(found.readings())
    assert found.end is not None
    return batches, found.end.why


def same(expected: RecordBatch, actual: RecordBatch) -> bool:
    """Tell whether everything is equal: values, unknown ones, types, what stands around them."""
    return (
        expected.schema == actual.schema
        and (expected.accounting, expected.time_ns, expected.scale)
        == (actual.accounting, actual.time_ns, actual.scale)
        and all(
            expected[name].tolist() == actual[name].tolist() and expected[name].dtype == actual[name].dtype
            for name in expected.schema.names
        )
    )


def noticed_flips(data: bytes, *, files: int) -> int:
    """Read so many files with some bits flipped, and count those of which that is told; of the others all has to be right."""
    whole, _ = read(data)
    chosen = random.Random(13)
    noticed = 0
    for _ in range(files):
        damaged = bytearray(data)
        for _ in range(chosen.choice([1, 1, 1, 2, 17])):
            damaged[chosen.randrange(len(damaged))] ^= 1 << chosen.randrange(8)
        try:
            found, why = read(bytes(damaged))
        except SondeError:
            noticed += 1
            continue
        noticed += bool(why)
        assert all(same(expected, actual) for expected, actual in zip(whole, found, strict=False))
        assert why or len(found) == len(whole)
    return noticed
