"""Metrics and records as lines of JSON: what is in them, and what becomes of them when nothing can be written."""

from __future__ import annotations

import json
import resource
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from made_lines import DURATION, NOW_NS, PATIENCE_S, START_NS, balanced, batch, counts, snapshot, until
from sonde.errors import SondeError
from sonde.exporters.exporter import Exporter
from sonde.exporters.json_lines import JsonLinesExporter, JsonLinesSettings
from sonde.exporters.json_lines.line import metric_chunks, record_chunks
from sonde.records.metrics import Metric, Series


def lines_of(chunks: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for chunk in chunks for line in chunk.text.splitlines()]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@contextmanager
def exporter(path: Path | str, **more: Any) -> Iterator[JsonLinesExporter]:
    made = JsonLinesExporter(JsonLinesSettings(str(path), **more))
    try:
        yield made
    finally:
        made.close(timeout_s=PATIENCE_S)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Refuse to let any file of this process grow beyond a size: writes end early, then fail with EFBIG."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


# ---- what a line says ---------------------------------------------------------------------------------------


def test_a_series_is_a_line_with_typed_attributes() -> None:
    expected = {
        "time": "2026-07-01T12:00:05.000000123Z",
        "start": "2026-07-01T12:00:00.000000000Z",
        "metric": "sonde.syscall.count",
        "kind": "counter",
        "unit": "{call}",
        "attributes": {"process.pid": 7},
        "value": 11,
    }

    assert expected == lines_of(metric_chunks(snapshot()))[0]


def test_a_gauge_has_no_start_and_an_absent_attribute_is_left_out() -> None:
    gauge = Metric("sonde.map.fill", "gauge", "1", "Fill.", "fill", {"map": "map", "host": "host"})
    names = np.ma.masked_array(np.array(["a", ""], dtype=object), mask=[False, True])
    host = np.array(["h", "h"], dtype=object)
    series = Series(gauge, {"map": names, "host": host}, np.array([0.5, 0.25]), np.zeros(2, np.int64), NOW_NS)
    first, second = lines_of(metric_chunks(snapshot(series)))

    assert ({"map": "a", "host": "h"}, 0.5) == (first["attributes"], first["value"])
    assert {"host": "h"} == second["attributes"]
    assert "start" not in first


def test_a_histogram_has_exponential_buckets_in_the_metrics_unit() -> None:
    """Bucket 60 at scale 1 of a column in 2**-30 s lies above 2**(60/2) of them, which is 1 s."""
    rows = np.zeros((2, 64), np.uint64)
    rows[0, 60], rows[0, 62] = 3, 5
    totals, maxima = np.array([8 << 30, 0], np.uint64), np.array([3 << 29, 0], np.uint64)
    starts = np.full(2, START_NS, np.int64)
    series = Series(DURATION, {}, rows, starts, NOW_NS, totals=totals, maxima=maxima)
    found, empty = lines_of(metric_chunks(snapshot(series)))

    assert {"count": 8, "sum": 8.0, "max": 1.5, "scale": 1, "offset": 0, "counts": [3, 0, 5]} == {
        name: found[name] for name in ("count", "sum", "max", "scale", "offset", "counts")
    }
    assert (0, 0.0, []) == (empty["count"], empty["sum"], empty["counts"])
    assert "max" not in empty


def test_a_record_is_a_line_with_its_own_moment() -> None:
    first, second = lines_of(record_chunks(batch(2)))

    assert {
        "time": "2026-07-01T12:00:05.000000123Z",
        "event": "syscalls.calls",
        "attributes": {"pid": 0, "comm": "cat"},
    } == first
    assert {"comm": "cat"} == second["attributes"]


def test_the_resource_is_on_every_line_where_it_is_asked_for() -> None:
    found = lines_of(metric_chunks(snapshot(resource={"host.name": "a"}), resource=True))

    assert [{"host.name": "a"}] * 2 == [line["resource"] for line in found]


@pytest.mark.parametrize(
    "separator",
    ["\n", "\r\n", "\x85", "\u2028", "\u2029", "\x1b[31m", "\x9b31m", "\u202e", '"', "\\", "\x00", "\x7f"],
)
def test_nothing_in_a_name_breaks_a_line(separator: str) -> None:
    name = f"a{separator}b"
    text = b"".join(chunk.text for chunk in record_chunks(batch(1, name)))
    (line,) = text.decode().splitlines()

    assert name == json.loads(line)["attributes"]["comm"]
    assert line.isprintable()


def test_names_that_are_no_utf8_stay_apart() -> None:
    (line,) = lines_of(record_chunks(batch(1, b"a\xffb".decode(errors="surrogateescape"))))

    assert r"a\xffb" == line["attributes"]["comm"]


@given(st.text(alphabet=st.characters(), max_size=12), st.binary(max_size=12))
@settings(max_examples=200, deadline=None)
def test_any_name_is_one_line_of_unicode(text: str, raw: bytes) -> None:
    """Python's characters include lone surrogates, which is also what bytes that are no UTF-8 are decoded to."""
    for name in (text, raw.decode(errors="surrogateescape")):
        (chunk,) = record_chunks(batch(1, name))
        (line,) = chunk.text.decode("utf-8", "strict").splitlines()
        assert isinstance(json.loads(line)["attributes"]["comm"], str)


# ---- the file -----------------------------------------------------------------------------------------------


def test_it_is_an_exporter() -> None:
    with exporter("-") as made:
        taken: Exporter = made
        assert "file" == taken.name


def test_what_was_taken_is_in_the_file_at_the_end(tmp_path: Path) -> None:
    with exporter(tmp_path / "out.jsonl") as made:
        made.export(snapshot())
        made.log(batch(2003))
    status = made.status()

    assert 2 + 2003 == len(read(tmp_path / "out.jsonl"))
    assert (2, 2003, True) == (status.points_delivered, status.records_delivered, status.is_healthy)
    assert balanced(status)


def test_metrics_and_records_can_be_left_out(tmp_path: Path) -> None:
    with exporter(tmp_path / "out.jsonl", metrics=False) as made:
        made.export(snapshot())
        made.log(batch(3))

    assert ["syscalls.calls"] * 3 == [line["event"] for line in read(tmp_path / "out.jsonl")]


def test_standard_output_takes_lines(capfd: pytest.CaptureFixture[str]) -> None:
    with exporter("-") as made:
        made.export(snapshot())

    assert [11, 17] == [json.loads(line)["value"] for line in capfd.readouterr().out.splitlines()]


def test_files_are_rotated_by_size_and_so_many_are_kept(tmp_path: Path) -> None:
    """No file is larger than asked for, no line is split, and the newest lines are there."""
    path = tmp_path / "out.jsonl"
    with exporter(path, rotate_size_bytes=200_000, rotate_keep=2) as made:
        for _ in range(17):
            made.log(batch(509))
            until(lambda: made.status().records_waiting == 0)
    names = sorted(each.name for each in tmp_path.iterdir())
    newest = [line for name in ("out.jsonl.2", "out.jsonl.1", "out.jsonl") for line in read(tmp_path / name)]

    assert ["out.jsonl", "out.jsonl.1", "out.jsonl.2"] == names
    assert all(each.stat().st_size <= 200_000 for each in tmp_path.iterdir())
    assert 509 * 17 == made.status().records_delivered
    assert [at for _ in range(len(newest) // 509) for at in range(509)] == [
        line["attributes"].get("pid", 1) for line in newest
    ]


def test_files_are_rotated_by_age(tmp_path: Path) -> None:
    with exporter(tmp_path / "out.jsonl", rotate_after_s=0.01) as made:
        made.log(batch(3))
        until(lambda: made.status().records_waiting == 0)
        time.sleep(0.02)
        made.log(batch(5))

    assert (3, 5) == (len(read(tmp_path / "out.jsonl.1")), len(read(tmp_path / "out.jsonl")))


def test_without_rotated_files_the_old_one_goes(tmp_path: Path) -> None:
    with exporter(tmp_path / "out.jsonl", rotate_size_bytes=1, rotate_keep=0) as made:
        made.log(batch(3))
        until(lambda: made.status().records_waiting == 0)
        made.log(batch(5))

    assert ["out.jsonl"] == [each.name for each in tmp_path.iterdir()]
    assert 5 == len(read(tmp_path / "out.jsonl"))


@contextmanager
def renamed(path: Path) -> Iterator[JsonLinesExporter]:
    """One that has written three lines to a file that another program has renamed."""
    with exporter(path) as made:
        made.log(batch(3))
        until(lambda: made.status().records_waiting == 0)
        path.rename(path.with_name("old.jsonl"))
        yield made


def test_another_program_may_rename_the_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with renamed(path) as made:
        made.reopen()
        made.log(batch(5))

    assert (3, 5) == (len(read(tmp_path / "old.jsonl")), len(read(path)))


def test_where_the_path_cannot_be_opened_again_lines_go_to_the_file_that_is(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with renamed(path) as made:
        path.mkdir()
        made.reopen()
        made.log(batch(5))
        until(lambda: made.status().records_waiting == 0)
        assert "lines go to the file that was open" in made.status().problem
        path.rmdir()
        made.reopen()
        made.log(batch(7))
        until(lambda: made.status().records_waiting == 0)
        assert made.status().problem == ""

    assert (8, 7) == (len(read(tmp_path / "old.jsonl")), len(read(path)))


def test_a_line_that_a_crash_left_unfinished_swallows_none(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(b'{"whole":1}\n{"cut')
    with exporter(path) as made:
        made.log(batch(2))
    lines = path.read_bytes().splitlines()

    assert [b'{"whole":1}', b'{"cut'] == lines[:2]
    assert [0, None] == [json.loads(line)["attributes"].get("pid") for line in lines[2:]]


def test_the_file_is_for_its_owner_and_group(tmp_path: Path) -> None:
    with exporter(tmp_path / "out.jsonl"):
        mode = stat.S_IMODE((tmp_path / "out.jsonl").stat().st_mode)

    assert 0 == mode & 0o007


def test_a_path_that_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(
        SondeError, match=r"write .*/absent/out: no such file or directory \(ENOENT\): give another path"
    ):
        JsonLinesExporter(JsonLinesSettings(str(tmp_path / "absent" / "out")))


# ---- nothing can be written -----------------------------------------------------------------------------------


def test_a_full_device_is_told_and_counted() -> None:
    """/dev/full takes nothing, as a full disk: ENOSPC."""
    made = JsonLinesExporter(JsonLinesSettings("/dev/full", queue_max=100))
    for _ in range(5):
        made.export(snapshot(counts(dict.fromkeys(range(37), 1))))
        made.log(batch(41))
        until(lambda: bool(made.status().failures))
    during = made.status()
    made.close(timeout_s=PATIENCE_S)
    status = made.status()

    assert not during.is_healthy
    assert "write /dev/full: no space left on device (ENOSPC)" == during.problem
    assert during.points_waiting <= 100
    assert during.records_waiting <= 100
    assert balanced(during)
    assert ({"ENOSPC": 5 * 37}, {"ENOSPC": 5 * 41}) == (status.points_dropped, status.records_dropped)
    assert balanced(status)


def test_it_goes_on_when_there_is_room_again_and_has_left_no_half_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with exporter(path, queue_max=3000) as made:
        made.log(batch(101))
        until(lambda: made.status().records_waiting == 0)
        with no_file_beyond(path.stat().st_size + 1000):
            made.log(batch(2003))
            until(lambda: bool(made.status().failures))
            made.log(batch(1009))
            during = made.status()
        until(lambda: made.status().records_waiting == 0)
    status = made.status()

    assert ("EFBIG", 2003) == (next(iter(during.failures)), during.records_waiting)
    assert {"EFBIG": 1009} == status.records_dropped
    assert 101 + 2003 == len(read(path)) == status.records_delivered
    assert status.is_healthy
    assert balanced(status)


def test_newer_metrics_take_the_place_of_older_ones(tmp_path: Path) -> None:
    """They are cumulative: the newest say all that the others would have said."""
    path = tmp_path / "out.jsonl"
    with exporter(path, queue_max=4) as made:
        with no_file_beyond(10):
            for value in range(100, 107):
                made.export(snapshot(counts({7: value, 13: 0})))
                until(lambda: bool(made.status().failures))
        until(lambda: made.status().points_waiting == 0)
    values = [line["value"] for line in read(path) if line["attributes"]["process.pid"] == 7]

    assert [100, 106] == values
    assert {"EFBIG": 10} == made.status().points_dropped
