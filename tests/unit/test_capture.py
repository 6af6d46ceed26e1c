"""Captures: what was written is what is read, as far as the file is whole, whatever is in it."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import BEGAN_NS, LOST, calls, header_of, read, reader, rows, same, words, write
from sonde.errors import LayoutError, SondeError
from sonde.records.capture.header import KEY, Header, header_here
from sonde.records.capture.kind import Kind, kind_of
from sonde.records.capture.output import CapturedOutput
from sonde.records.capture.text import decoded, encoded
from sonde.records.capture.writer import CaptureWriter
from sonde.records.model import RecordBatch
from sonde.records.pipeline import Pipeline


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
