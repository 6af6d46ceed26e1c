"""Captures that were cut, damaged, or made to deceive: what is whole is read, the rest is one sentence."""

from __future__ import annotations

import io
import os
import random
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import calls, header_of, noticed_flips, read, reader, rows, same, write
from sonde.errors import SondeError
from sonde.records.capture.header import KEY, header_here
from sonde.records.capture.message import Table
from sonde.records.capture.writer import CaptureWriter

NO_CAPTURE = "sonde record -o FILE makes captures"


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small capture of two outputs."""
    batches = [
        calls(3),
        rows(3, second=1),
        calls(2, second=1),
        rows(2, second=2, final=True),
        calls(0, final=True),
    ]
    return write(tmp_path_factory.mktemp("captures") / "c.arrow", batches).read_bytes()


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Two readings of one output."""
    return write(
        tmp_path_factory.mktemp("captures") / "c.arrow", [calls(3), calls(2, final=True)]
    ).read_bytes()


def test_a_file_that_was_cut_at_any_byte_is_read_up_to_the_cut(small: bytes) -> None:
    whole, _ = read(small)
    beginning = len(small) - len(_after_header(small))
    for cut in range(len(small)):
        if cut < beginning:
            with pytest.raises(SondeError, match=r"it is empty|it ends within its first message"):
                reader(small[:cut])
            continue
        found, why = read(small[:cut])
        assert "it was cut short" == why
        assert all(same(expected, actual) for expected, actual in zip(whole, found, strict=False)), cut


def _after_header(data: bytes) -> bytes:
    (size,) = struct.unpack_from("<i", data, 4)
    return data[8 + size :]


def test_a_large_file_is_read_up_to_any_cut(tmp_path: Path) -> None:
    batches = [calls(503, second=second) for second in range(29)]
    data = write(tmp_path / "c.arrow", batches).read_bytes()
    chosen = random.Random(7)
    for _ in range(30):
        cut = chosen.randrange(len(data))
        found, why = read(data[:cut])
        assert "it was cut short" == why
        assert len(found) == (cut - (len(data) - len(_after_header(data)))) * 29 // len(_after_header(data))


def test_flipped_bits_are_noticed_or_without_effect(small: bytes) -> None:
    """Thousands of damaged files: a sentence, and what stands before the damage; nothing wrong, no crash."""
    assert noticed_flips(small, files=4000) > 1000


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=500)
def test_garbage_is_one_sentence(data: bytes) -> None:
    with pytest.raises(SondeError) as error:
        reader(data)

    assert "\n" not in str(error.value)


@given(st.binary(max_size=400))
@settings(deadline=None, max_examples=200)
def test_garbage_behind_a_good_beginning_is_one_sentence(data: bytes) -> None:
    good = bytearray(_GOOD)
    _, why = read(bytes(good) + data)

    assert why


def _good() -> bytes:
    out = os.memfd_create("capture")
    try:
        CaptureWriter(out, header_here((header_of(calls(1)),)), name="x")
        return os.pread(out, 1 << 20, 0)
    finally:
        os.close(out)


_GOOD = _good()


def test_sizes_that_lie_allocate_nothing(capture: bytes) -> None:
    """Messages that claim a megabyte, or a terabyte, in a file of some kilobytes."""
    tracemalloc.start()
    try:
        for size in (1 << 20, (1 << 31) - 1, -1, -(1 << 31)):
            with pytest.raises(SondeError):
                reader(b"\xff\xff\xff\xff" + struct.pack("<i", size) + bytes(100))
        for size in (1 << 29, 1 << 40, -1, (1 << 63) - 1):
            assert read(_with_body_of(capture, size))[1]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert peak < 20 << 20


def _with_body_of(data: bytes, size: int) -> bytes:
    """Let the first reading's message claim a body of another size."""
    lying = bytearray(data)
    start = len(data) - len(_after_header(data)) + 8
    at = Table.root(bytes(data[start:]))._field(3)
    assert at is not None
    struct.pack_into("<q", lying, start + at, size)
    return bytes(lying)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "it is empty"),
        (b"PAR1", "it ends within its first message"),
        (
            b"#!/bin/sh\necho hello\n",
            "it is no capture of sonde's: there is no message where one should begin",
        ),
        (b"\xff\xff\xff\xff\x00\x00\x00\x00", "it is no capture of sonde's: it does not begin with a schema"),
    ],
)
def test_what_is_no_capture_is_told(data: bytes, why: str) -> None:
    with pytest.raises(SondeError) as error:
        reader(data)

    assert f"read x.arrow: {why}: {NO_CAPTURE}" == str(error.value)


def test_an_arrow_stream_of_another_program_is_told() -> None:
    out = io.BytesIO()
    table = pa.table({"a": [1, 2]})
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)

    with pytest.raises(SondeError, match="it is an Arrow stream, but no capture of sonde's"):
        reader(out.getvalue())


def with_header(data: bytes, change: Any) -> bytes:
    """Write the same capture with another header, by another library; readings keep their checksums."""
    with pa.ipc.open_stream(data) as stream:
        batches = list(stream)
        header = msgspec.json.decode(stream.schema.metadata[KEY.encode()])
        header = change(header)
        schema = stream.schema.with_metadata({KEY: msgspec.json.encode(header)})
    out = io.BytesIO()
    with pa.ipc.new_stream(out, schema) as writer:
        for batch in batches:
            writer.write_batch(pa.record_batch(batch.columns, schema=schema))
    return out.getvalue()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda header: header | {"format": 3}, "a newer sonde wrote it, in format 3: upgrade sonde"),
        (lambda header: header | {"outputs": []}, "its header contradicts itself"),
        (lambda header: header | {"outputs": header["outputs"] * 2}, "its header contradicts itself"),
        (lambda header: header | {"outputs": 7}, "its header is damaged"),
        (lambda _: [], "its header is damaged"),
        (
            lambda header: header | {"outputs": [header["outputs"][0] | {"name": "a\x1b[31m"}]},
            "its header contradicts itself",
        ),
        (
            lambda header: header | {"outputs": [header["outputs"][0] | {"shown": ["nothing"]}]},
            "its header contradicts itself",
        ),
    ],
)
def test_a_header_that_lies_is_told(capture: bytes, change: Any, why: str) -> None:
    with pytest.raises(SondeError, match=f"read x.arrow: {why}"):
        reader(with_header(capture, change))


def test_a_header_of_another_capture_is_noticed(capture: bytes) -> None:
    """The checksums of all readings begin with the header's."""
    found, why = read(with_header(capture, lambda header: header | {"host": "elsewhere"}))

    assert ([], "it is damaged: a reading's checksum is wrong") == (found, why)
