"""Globals are read and written through BTF, and their errors say what they take."""

from __future__ import annotations

import struct

import pytest

from btf_writer import BtfWriter
from sonde.bpf.btf import DataSec
from sonde.bpf.knob import KNOB, VARIABLE, Globals, globals_in
from sonde.errors import KnobError, LayoutError

SIZE = 64


@pytest.fixture
def memory() -> bytearray:
    return bytearray(SIZE)


@pytest.fixture
def section() -> DataSec:
    """const volatile u32 pid_only; … and a const that is no knob, for the compiler has used its value."""
    writer = BtfWriter()
    number = writer.int("unsigned int", 4)
    types = {
        "pid_only": (number, 0, 4), "verbose": (writer.int("_Bool", 1, is_bool=True), 4, 1),
        "mode": (writer.enum("mode", {"OFF": 0, "ON": 1}), 8, 4),
        "comm": (writer.array(writer.int("char", 1), 16), 16, 16), "limits": (writer.array(number, 4), 32, 16),
        "threshold_ns": (writer.int("long", 8, signed=True), 48, 8), "small": (writer.int("u16", 2), 56, 2),
    }  # fmt: skip
    placed = [
        (writer.variable(name, writer.const(writer.volatile(id))), offset, size)
        for name, (id, offset, size) in types.items()
    ]
    placed.append((writer.variable("plain", writer.const(number)), 60, 4))
    writer.section(".rodata", SIZE, placed)
    return writer.btf().require(".rodata", DataSec)


@pytest.fixture
def knobs(section: DataSec, memory: bytearray) -> Globals:
    return Globals(globals_in(section, memoryview(memory), noun=KNOB))


def test_knobs_are_the_volatile_constants(knobs: Globals, section: DataSec, memory: bytearray) -> None:
    assert list(knobs) == ["pid_only", "verbose", "mode", "comm", "limits", "threshold_ns", "small"]
    variables = Globals(globals_in(section, memoryview(memory), noun=VARIABLE), noun=VARIABLE)
    assert "plain" in variables
    assert len(variables) == len(knobs) + 1


def test_values_are_written_where_the_variable_lies(knobs: Globals, memory: bytearray) -> None:
    values = {
        "pid_only": 41, "verbose": True, "mode": "ON", "comm": "bash", "limits": [1, 2], "threshold_ns": -1, "small": 7,
    }  # fmt: skip
    for name, value in values.items():
        knobs[name].value = value
    assert bytes(memory) == struct.pack("=I?3xI4x16sIIIIqH6x", 41, True, 1, b"bash", 1, 2, 0, 0, -1, 7)
    assert {name: knob.value for name, knob in knobs.items()} == values | {"mode": 1, "limits": (1, 2, 0, 0)}
    assert knobs["mode"].value.name == "ON"


def test_a_value_written_elsewhere_is_seen(knobs: Globals, memory: bytearray) -> None:
    struct.pack_into("=I", memory, 0, 77)
    assert knobs["pid_only"].value == 77


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pid_only", -1, "-1 does not fit: u32 takes 0..4294967295"),
        ("pid_only", "x", "'x' is no integer: u32 takes 0..4294967295"),
        ("verbose", 2, "2 does not fit: bool takes 0..1"),
        ("mode", "MAYBE", "'MAYBE' is no enum mode: take one of OFF, ON"),
        ("comm", "x" * 17, "17 bytes do not fit: char[16] has 16"),
        (
            "limits",
            [0] * 5,
            "5 values do not fit: u32[4] takes 4",
        ),
    ],
)
def test_a_wrong_value_says_what_is_right(
    knobs: Globals, memory: bytearray, name: str, value: object, message: str
) -> None:
    with pytest.raises(KnobError) as caught:
        knobs[name].value = value
    assert str(caught.value) == f"set knob {name}: {message}"
    assert (caught.value.knob, caught.value.valid) == (name, knobs[name].valid)
    assert bytes(memory) == bytes(SIZE), "nothing was written"


def test_assignments_that_people_type(knobs: Globals) -> None:
    for text in (
        "pid_only=0x10",
        "verbose = yes",
        "mode=ON",
        "comm=a=b",
        "limits=1,2,0x3",
        "threshold_ns=-5",
    ):
        knobs.set_text(text)
    assert [knob.value for knob in knobs.values()] == [16, True, 1, "a=b", (1, 2, 3, 0), -5, 0]
    for wrong, why in {
        "pid_only=ten": "'ten' is no integer",
        "pid_only=-1": "-1 does not fit",
        "verbose=maybe": "'maybe' is no bool",
        "mode=MAYBE": "'MAYBE' is no enum mode: take one of OFF, ON",
        "small=65536": "u16 takes 0",
        "pid_only": "there is no =: give NAME=VALUE",
        "pid_onyl=1": r"did you mean pid_only\?",
        "zzz=1": "there are pid_only, verbose, mode, comm, limits, threshold_ns, small",
    }.items():
        with pytest.raises(KnobError, match=why):
            knobs.set_text(wrong)


def test_unknown_names_are_near_misses_and_no_members(knobs: Globals) -> None:
    with pytest.raises(
        KnobError, match=r"^find knob smal: the object has no such knob: did you mean small\?$"
    ):
        _ = knobs["smal"]
    assert "smal" not in knobs
    assert knobs.get("smal") is None
    assert knobs.get("small") is knobs["small"]


def test_variables_are_called_so(section: DataSec, memory: bytearray) -> None:
    variables = Globals(globals_in(section, memoryview(memory), noun=VARIABLE), noun=VARIABLE)
    with pytest.raises(KnobError, match=r"^set variable small: -1 does not fit"):
        variables["small"].value = -1
    with pytest.raises(KnobError, match="no such variable"):
        _ = variables["none"]


def test_closed_memory_is_not_touched(knobs: Globals) -> None:
    knob, text = knobs["pid_only"], knobs["comm"]
    assert text.value == ""
    knobs.close()
    knobs.close()
    for closed, value in ((knob, 1), (text, "a")):
        with pytest.raises(KnobError, match=r"read knob .*: its object is loaded or closed"):
            _ = closed.value
        with pytest.raises(KnobError, match=r"set knob .*: its object is loaded or closed"):
            closed.value = value
    assert knob.valid == "u32 0..4294967295"


def test_read_only_memory_is_refused(section: DataSec) -> None:
    knobs = Globals(globals_in(section, memoryview(bytes(SIZE)), noun=KNOB))
    for name, value in (("pid_only", 1), ("comm", "a")):
        with pytest.raises(KnobError, match="it cannot be written"):
            knobs[name].value = value


def test_a_variable_outside_its_section_is_refused(section: DataSec) -> None:
    with pytest.raises(LayoutError, match=r"read knob small: it lies outside of section \.rodata"):
        globals_in(section, memoryview(bytearray(56)), noun=KNOB)


def test_a_variable_whose_size_is_not_its_types_is_refused() -> None:
    writer = BtfWriter()
    number = writer.int("u32", 4)
    writer.section(".data", 8, [(writer.variable("v", number), 0, 8)])
    (found,) = globals_in(writer.btf().require(".data", DataSec), memoryview(bytearray(8)), noun=VARIABLE)
    with pytest.raises(LayoutError, match="BTF says 4 bytes, the kernel 8"):
        _ = found.value
