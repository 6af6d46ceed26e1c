"""Globals of every kind in objects that sonde did not build: knobs before load, variables while programs run."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from kernel.shaped import PACKET, loaded, opened, send
from sonde.bpf import ObjectSpec
from sonde.errors import KnobError

pytestmark = pytest.mark.beside


def test_knobs_of_every_kind_reach_the_program() -> None:
    def edit(spec: ObjectSpec) -> None:
        knobs = spec.knobs
        assert (knobs["byte_knob"].value, knobs["signed_byte_knob"].value) == (200, -100)
        assert knobs["text_knob"].value == "before"
        assert knobs["list_knob"].value == (1, 2, 3, 0)
        assert knobs["limits_knob"].value == (10, -10, "ten")
        assert str(knobs["mode_knob"].value) == "ON"
        knobs["byte_knob"].value = 1
        knobs["signed_byte_knob"].value = -1
        knobs["short_knob"].value = 1000
        knobs["word_knob"].value = 10
        knobs["far_knob"].value = 100
        knobs["hidden_knob"].value = 10_000
        knobs["long_knob"].value = -(1 << 63)
        knobs["flag_knob"].value = False
        knobs["mode_knob"].value = "AUTOMATIC"
        knobs["text_knob"].value = "sixteen letters!"
        knobs["list_knob"].value = [1000, 2000]
        knobs["limits_knob"].value = {"most": 1, "least": -5, "name": "x"}

    with loaded("globals", edit) as made:
        assert send(made.programs["copy"]).return_value == 42
        seen = {name: each.value for name, each in made.variables.items()}
        assert seen["word_seen"] == 1 - 1 + 1000 + 10 + 100 + 10_000
        assert seen["long_seen"] == -(1 << 63)
        assert seen["flag_seen"] is False
        assert str(seen["mode_seen"]) == "AUTOMATIC"
        assert seen["text_seen"] == "sixteen letters!"
        assert seen["sum_seen"] == 3000 - 5


def test_constants_are_no_knobs() -> None:
    """The compiler has used the value of a plain constant: to change it would change nothing."""
    with opened("globals") as spec:
        assert "fixed" not in spec.knobs
        with pytest.raises(KnobError, match="no such knob"):
            spec.knobs["fixed"]


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("byte_knob", 256, r"u8 takes 0\.\.255"),
        ("signed_byte_knob", -129, r"-128\.\.127"),
        ("word_knob", -1, r"u32 takes 0\.\.4294967295"),
        ("flag_knob", 2, r"bool takes 0\.\.1"),
        ("mode_knob", "SOMETIMES", "OFF, ON, AUTOMATIC"),
        ("text_knob", "seventeen letters", r"char\[16\] has 16"),
        ("list_knob", [1] * 5, r"u32\[4\] takes 4"),
        ("limits_knob", {"most": 1}, "least"),
    ],
)
def test_knobs_say_what_they_take(name: str, value: Any, says: str) -> None:
    with opened("globals") as spec, pytest.raises(KnobError, match=says) as caught:
        spec.knobs[name].value = value
    assert caught.value.knob == name


def test_variables_are_live_in_both_directions() -> None:
    with loaded("globals") as made:
        variables = made.variables
        assert {"number", "table", "limits", "apart", "hidden", "runs", "many", "more"} <= set(variables)
        assert (variables["number"].value, variables["apart"].value, variables["hidden"].value) == (5, 7, 8)
        assert variables["table"].value == ((1, 2), (3, -4), (0, 0))
        assert variables["limits"].value == (1, -1, "one")
        send(made.programs["copy"])
        assert (variables["number"].value, variables["apart"].value, variables["more"].value) == (10, 8, 1)
        assert variables["table"].value[2] == (0, -4)
        assert variables["limits"].value.least == -2
        assert str(variables["mode"].value) == "OFF"
        assert variables["many"].value[511] == len(PACKET)
        variables["number"].value = 1 << 40
        variables["limits"].value = {"most": 2, "least": 1 - (1 << 31), "name": "twelve chars"}
        send(made.programs["copy"])
        assert variables["number"].value == 1 << 41
        assert variables["limits"].value == (2, -(1 << 31), "twelve chars")
        assert variables["runs"].value == 2
        # The sections are maps of bytes.
        sections = [name for name in made.maps if name.startswith(".")]
        assert sorted(sections) == [".bss", ".bss.more", ".data", ".data.apart", ".rodata", ".rodata.far"]
        assert made.maps[".bss.more"][0] == struct.pack("I", 2)  # type: ignore[index]


def test_globals_end_with_their_object() -> None:
    """Their memory is the kernel's: after close it must not be touched."""
    with opened("globals") as spec:
        knob = spec.knobs["word_knob"]
        with spec.load() as made:
            variable = made.variables["runs"]
            with pytest.raises(KnobError, match="loaded or closed"):
                knob.value = 1
    for use in (lambda: variable.value, lambda: setattr(variable, "value", 1)):
        with pytest.raises(KnobError, match="closed"):
            use()
