"""Captures: what was written is what is read, as far as the file is whole, whatever is in it."""

from __future__ import annotations

import io
import os
import random
import resource
import struct
import threading
import tracemalloc
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import BEGAN_NS, LOST, calls, header_of, rows, words, write
from sonde.errors import LayoutError, SondeError
from sonde.records.capture.header import KEY, Header, header_here
from sonde.records.capture.kind import Kind, kind_of
from sonde.records.capture.message import Table
from sonde.records.capture.output import CapturedOutput
from sonde.records.capture.reader import CaptureReader
from sonde.records.capture.text import decoded, encoded
from sonde.records.capture.writer import CaptureWriter
from sonde.records.model import RecordBatch
from sonde.records.pipeline import Pipeline

NO_CAPTURE = "sonde record -o FILE makes captures"


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


# ---- what was written is what is read -----------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 7, 8, 9, 1009])
def test_what_was_written_is_what_is_read(tmp_path: Path, count: int) -> None:
    batches = [
        calls(count),
        rows(count, second=1),
        rows(count + 1, second=2, final=True),
        calls(0, final=True),
    ]
    found, why = read(write(tmp_path / "c.arrow", batches).read_bytes())

    assert "" == why
    assert len(batches) == len(found)
    for expected, actual in zip(batches, found, strict=True):
        assert same(expected, actual), expected.schema.name


def test_the_equation_is_kept_exactly(capture: bytes) -> None:
    found, _ = read(capture)
    accounting = found[0].accounting

    assert (6, 3, LOST, {"odd_ones": 7}) == (
        accounting.seen,
        accounting.delivered,
        accounting.lost,
        accounting.notes,
    )
    assert accounting.balanced
    assert [False, False, False, True, True] == [batch.accounting.final for batch in found]


def test_another_library_reads_it_too(capture: bytes) -> None:
    """One row a reading; what an output gave is a list in the column of its name."""
    table = pa.ipc.open_stream(capture).read_all()
    table.validate(full=True)
    header = msgspec.json.decode(table.schema.metadata[KEY.encode()], type=Header)
    texts = table.column("test.calls")[0].values.field("comm").to_pylist()

    assert [
        "output",
        "time",
        "scale",
        "accounting",
        "checksum",
        "test.calls",
        "test.rows",
    ] == table.schema.names
    assert ["test.calls", "test.rows", "test.calls", "test.rows", "test.calls"] == table.column(
        "output"
    ).to_pylist()
    assert [False, True, False, True, False] == table.column("test.calls").is_null().to_pylist()
    assert ["cat", "a b", ""] == texts
    assert os.uname().release == header.kernel
    assert {"test.calls", "test.rows"} == {output.name for output in header.outputs}


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Co"))), st.binary())
@settings(deadline=None)
def test_text_survives_with_bytes_that_are_no_utf8(text: str, raw: bytes) -> None:
    name = raw.decode(errors="surrogateescape")

    assert text == decoded(encoded(text))
    assert name == decoded(encoded(name)) or any("\uee80" <= each <= "\ueeff" for each in name)
    assert encoded(name).decode("utf-8", "strict") is not None


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 2, 2)),
        np.zeros((2, 3), dtype=bool),
        np.zeros(2, dtype="M8[ns]"),
        np.zeros(2, dtype=[("a", "u4")]),
        np.zeros((2, 0)),
    ],
)
def test_what_no_column_can_be_is_refused(values: Any) -> None:
    with pytest.raises(LayoutError, match="write a capture: column x is"):
        kind_of("x", values)


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("comm", np.array([1, 2], dtype=object), "int is no text"),
        ("pid", np.array([0.5, 1]), "Cannot cast"),
        ("args", np.zeros((2, 7), np.uint64), "its shape is"),
    ],
)
def test_a_column_that_changes_is_told(tmp_path: Path, name: str, values: Any, why: str) -> None:
    with pytest.raises(LayoutError, match=f"column {name} was .*{why}"):
        write(tmp_path / "c.arrow", [calls(2), calls(2).adding({name: values})])


def test_several_outputs_are_written_by_several_threads(tmp_path: Path) -> None:
    headers = (header_of(calls(1)), header_of(rows(1)))
    with open(tmp_path / "c.arrow", "wb") as file:
        writer = CaptureWriter(file.fileno(), header_here(headers), name="c.arrow")

        def flow(make: Any, name: str) -> None:
            sink = writer.sink(name)
            for second in range(53):
                sink.write(make(11, second=second))
            sink.close(make(1).accounting)

        threads = [
            threading.Thread(target=flow, args=each) for each in ((calls, "test.calls"), (rows, "test.rows"))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    found, why = read((tmp_path / "c.arrow").read_bytes())

    assert ("", 106) == (why, len(found))
    for name in ("test.calls", "test.rows"):
        moments = [batch.time_ns for batch in found if batch.schema.name == name]
        assert [BEGAN_NS + second * 1_000_000_000 for second in range(53)] == moments


# ---- cut short, and damaged ---------------------------------------------------------------------------------


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
    whole, _ = read(small)
    chosen = random.Random(13)
    noticed = 0
    for _ in range(4000):
        damaged = bytearray(small)
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
    assert noticed > 1000


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
        (lambda header: header | {"format": 2}, "a newer sonde wrote it, in format 2: upgrade sonde"),
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


# ---- as an output of a pipeline -----------------------------------------------------------------------------


class Kept:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []
        self.accounting: Any = None

    def write(self, batch: RecordBatch) -> None:
        self.batches.append(batch)

    def close(self, accounting: Any) -> None:
        self.accounting = accounting


def flow(data: bytes, name: str, **more: Any) -> Kept:
    found = reader(data)
    kept = Kept()
    with CapturedOutput(found, found.header.output(name), **more) as output:
        Pipeline(output, kept).run(until=[output.ended_fileno()])
    return kept


@pytest.mark.parametrize(
    ("every_s", "seconds"),
    [(None, [9]), (0.0, list(range(10))), (1.0, list(range(10))), (4.0, [0, 4, 8, 9]), (99.0, [0, 9])],
)
def test_readings_of_a_table_are_chosen_and_the_last_is_always_there(
    tmp_path: Path, every_s: float | None, seconds: list[int]
) -> None:
    batches = [rows(5, second=second, final=second == 9) for second in range(10)]
    kept = flow(write(tmp_path / "c.arrow", batches).read_bytes(), "test.rows", every_s=every_s)

    assert [BEGAN_NS + second * 1_000_000_000 for second in seconds] == [
        batch.time_ns for batch in kept.batches
    ]
    assert batches[-1].accounting == kept.accounting


def test_all_records_of_a_stream_come(capture: bytes) -> None:
    kept = flow(capture, "test.calls")

    assert 3 + 2 == sum(map(len, kept.batches))
    assert kept.accounting.final


def test_of_a_cut_table_the_last_whole_reading_comes(tmp_path: Path) -> None:
    batches = [rows(5, second=second) for second in range(3)]
    data = write(tmp_path / "c.arrow", batches, ended=False).read_bytes()
    kept = flow(data[:-1], "test.rows")

    assert [BEGAN_NS + 1_000_000_000] == [batch.time_ns for batch in kept.batches]
    assert not kept.accounting.final


# ---- nothing can be written ---------------------------------------------------------------------------------


def test_a_disk_that_is_full_leaves_what_was_whole(tmp_path: Path) -> None:
    """No file may grow beyond a size here: a write ends early, the next one fails."""
    path = tmp_path / "c.arrow"
    batches = [calls(503, second=second) for second in range(7)]
    size = write(path, batches).stat().st_size
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, before[1]))
    try:
        with pytest.raises(
            SondeError, match=r"write .*: file too large \(EFBIG\): what was written before is readable"
        ):
            write(path, batches)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    found, why = read(path.read_bytes())

    assert "it was cut short" == why
    assert [True] * 3 == [same(expected, actual) for expected, actual in zip(batches, found, strict=False)]


def test_a_full_device_is_told() -> None:
    with pytest.raises(SondeError, match=r"write /dev/full: no space left on device \(ENOSPC\)"):
        write(Path("/dev/full"), [calls(1)])


def test_kinds_know_what_they_can_be() -> None:
    assert all(Kind(name).is_valid for name in ("uint8", "int64", "float64", "bool", "text", "time"))
    assert not any(
        kind.is_valid
        for kind in (
            Kind("object"),
            Kind("text", list_size=3),
            Kind("bytes"),
            Kind("uint8", list_size=-1),
            Kind("__class__"),
        )
    )
    assert Kind("text") == kind_of("x", words(3))
