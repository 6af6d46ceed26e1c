"""Stacks in captures: written once, whole again when they are read, and damage is told."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from captures import header_of, noticed_flips, read, reader, same, write
from profiles import ROWS, Row, batch_of, hostile_rows
from sonde.errors import SondeError
from sonde.records.capture import stacks as stacks_module
from sonde.records.capture.header import FORMAT, FORMAT_PLAIN, Header, header_here
from sonde.records.capture.stacks import StackNumbers, StackTexts
from sonde.records.frames import COLUMNS, KINDS, Frame, columns_of, frames_of, written
from sonde.records.model import RecordBatch

NAME = "cpu.samples"
MORE: dict[str, Any] = {
    "shown": ("pid", "comm", "count"),
    "weight": "count",
    "frequency_hz": 99.0,
    "frames": f"{NAME}.frames",
}


def recorded(path: Path, batches: Sequence[RecordBatch], **more: Any) -> Path:
    return write(path, batches, **{**MORE, **more})


@pytest.fixture
def capture(tmp_path: Path) -> bytes:
    batches = [batch_of(ROWS[:3], final=False, seconds=1), batch_of(ROWS)]
    return recorded(tmp_path / "c.arrow", batches).read_bytes()


def test_what_was_written_is_what_is_read(tmp_path: Path) -> None:
    batches = [
        batch_of(ROWS[:2], final=False, seconds=1),
        batch_of([], final=False, seconds=2),
        batch_of([*ROWS, (53, "idle", [], 2), *hostile_rows()], seconds=3),
    ]
    found, why = read(recorded(tmp_path / "c.arrow", batches).read_bytes())
    assert "" == why
    assert len(batches) == len(found)
    for expected, actual in zip(batches, found, strict=True):
        assert expected.schema == actual.schema
        assert same(expected, actual)


def test_a_stack_is_written_once(tmp_path: Path) -> None:
    """Each reading of a table holds all rows so far: names would be in the file again with each of them."""
    many = [
        (1, "a", [Frame(f"function_with_a_long_name_{each % 97}") for each in range(at, at + 40)], 1)
        for at in range(500)
    ]
    sizes = []
    for readings in (1, 2, 3):
        batches = [batch_of(many, seconds=second) for second in range(readings)]
        sizes.append(recorded(tmp_path / "c.arrow", batches).stat().st_size)
    plain = recorded(tmp_path / "p.arrow", [batch_of(many)], frames="").stat().st_size
    # 40 names of 27 letters in each of 500 rows; then 40 bytes or so a row.
    assert plain > 500 * 40 * 27
    assert sizes[0] < plain / 2
    assert sizes[1] - sizes[0] == sizes[2] - sizes[1] < 500 * 60


def test_the_name_of_a_frame_is_written_once() -> None:
    """It may stand at many places in the tree of stacks."""
    stacks = [[Frame(name) for name in path] for path in ("ab", "ba", "bab", "cab")]
    _, new = StackNumbers().of(columns_of([*map(written, stacks)]))
    assert ["a", "b", "c"] == [name for name in new["name"] if name is not None]
    assert 2 + 2 + 1 + 3 == len(new["name"])


def test_what_is_known_while_writing_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Then what comes again is written again, and read as it was."""
    monkeypatch.setattr(stacks_module, "STACKS_MAX", 5)
    numbers, texts = StackNumbers(), StackTexts()
    for turn in range(20):
        stacks = [[Frame("main"), Frame(f"f{turn}_{each}")] for each in range(3)]
        found, new = numbers.of(columns_of([*map(written, stacks)]))
        texts.add(new)
        assert [f"main;f{turn}_{each}" for each in range(3)] == texts.columns(found)["stack"].tolist()
        assert len(numbers._stacks) <= 8


def test_readings_are_those_that_a_person_knows_of(capture: bytes) -> None:
    """Frames are none of their own; who asks for an output's readings gets them with its stacks."""
    for wanted, count in ((NAME, 2), (f"{NAME}.frames", 0)):
        found = reader(capture)
        batches = list(found.readings(wanted.__eq__))
        assert count == len(batches)
        assert all("seventy" in batch["stack"][0] for batch in batches)
        assert found.end is not None
        assert ("", 2) == (found.end.why, found.end.readings)


def test_captures_without_stacks_are_in_the_older_format() -> None:
    batch = batch_of(ROWS)
    with_stacks, without = (
        header_here((header_of(batch, **{**MORE, "frames": name}),)) for name in ("x.f", "")
    )
    assert (FORMAT, ["cpu.samples", "x.f"]) == (
        with_stacks.format,
        [each.name for each in with_stacks.outputs],
    )
    assert (FORMAT_PLAIN, 1) == (without.format, len(without.outputs))
    assert ["cpu.samples"] == [each.name for each in with_stacks.shown]


def test_another_library_reads_the_frames(capture: bytes) -> None:
    table = pa.ipc.open_stream(capture).read_all()
    table.validate(full=True)
    places: list[dict[str, Any]] = [{}]
    for cell in table.column(f"{NAME}.frames").to_pylist():
        places += cell or []
    stacks = table.column(NAME)[-1].as_py()

    def name(place: int) -> str:
        return str(places[places[place]["like"]]["name"])

    names, place = [], stacks[0]["stack"]
    while place:
        names.append(name(place))
        place = places[place]["parent"]
    assert ["seventy", "main", "_start"] == names


def test_a_cut_file_has_what_was_whole(capture: bytes) -> None:
    whole, _ = read(capture)
    for cut in range(len(capture) - 1, 2000, -173):
        try:
            found, why = read(capture[:cut])
        except SondeError:
            continue
        assert "it was cut short" == why
        assert all(same(expected, actual) for expected, actual in zip(whole, found, strict=False))


def test_flipped_bits_are_noticed_or_without_effect(capture: bytes) -> None:
    assert noticed_flips(capture, files=1500) > 300


@pytest.mark.parametrize(
    "change",
    [
        {"frames": "nothing.there"},
        {"frames": ""},
        {"weight": "nothing"},
        {"frequency_hz": -1.0},
    ],
    ids=str,
)
def test_a_header_that_contradicts_itself_is_not_sound(change: dict[str, Any]) -> None:
    header = header_here((header_of(batch_of(ROWS), **MORE),))
    assert header.is_sound()
    output = msgspec.structs.replace(header.outputs[0], **change)
    assert not msgspec.structs.replace(header, outputs=(output, *header.outputs[1:])).is_sound()


def test_a_header_of_before_has_no_weight(capture: bytes) -> None:
    """Fields that an older sonde did not write have their defaults."""
    header = msgspec.to_builtins(header_here((header_of(batch_of(ROWS)),)))
    (output,) = header["outputs"]
    assert {"weight", "frequency_hz", "frames", "of"}.isdisjoint(output)
    assert "" == msgspec.convert(header, Header).outputs[0].weight


@pytest.mark.parametrize(
    "row",
    [
        (0, 2, "f", "n", "", ""),
        (1, 1, "f", "n", "", ""),
        (7, 1, "f", "n", "", ""),
        (0, 0, "f", "n", "", ""),
        (0, 1, None, None, None, None),
        (0, 1, "f", "nn", "", ""),
    ],
    ids=str,
)
def test_places_that_contradict_themselves_are_refused(row: tuple[Any, ...]) -> None:
    names = ("parent", "like", "name", "kind", "module", "source")
    columns = {}
    for name, value in zip(names, row, strict=True):
        values = np.empty(1, np.uint32 if isinstance(value, int) else object)
        values[:] = [value]
        columns[name] = values
    with pytest.raises(ValueError, match="frame"):
        StackTexts().add(columns)


def test_a_number_without_a_stack_is_refused() -> None:
    with pytest.raises(ValueError, match="not there"):
        StackTexts().columns(np.array([3], np.uint32))


TEXT = st.text(st.characters(exclude_characters=";\n", exclude_categories=("Cs",)), max_size=5)
FRAMES = st.builds(Frame, TEXT, st.sampled_from(list(KINDS)), TEXT, st.just("x.c"), st.integers(0, 3))


@given(st.lists(st.lists(st.lists(FRAMES, max_size=5), max_size=4), max_size=3))
@settings(max_examples=100)
def test_any_stacks_come_back(batches: list[list[list[Frame]]]) -> None:
    numbers, texts = StackNumbers(), StackTexts()
    for stacks in batches:
        found, new = numbers.of(columns_of([*map(written, stacks)]))
        texts.add(new)
        columns = texts.columns(found)
        rows = [
            dict(zip(COLUMNS, row, strict=True))
            for row in zip(*(columns[name] for name in COLUMNS), strict=True)
        ]
        assert stacks == [frames_of(row) for row in rows]


def test_columns_that_do_not_fit_together_are_kept_as_far_as_they_go() -> None:
    rows: list[Row] = [(1, "a", [Frame("f")], 1)]
    columns = dict(batch_of(rows).columns)
    columns["frame_kinds"][0] = "n?"
    numbers, texts = StackNumbers(), StackTexts()
    found, new = numbers.of(columns)
    texts.add(new)
    assert "nu" == texts.columns(found)["frame_kinds"][0]
