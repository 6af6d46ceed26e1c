"""What a run is asked for from Python: an output or a knob that cannot be is told before anything is loaded."""

from __future__ import annotations

import pytest

from sonde.errors import KnobError, ProbeError
from sonde.probe import Knob, Probe, Stream, Table
from sonde.run import RunControl

MADE = Probe(
    name="made",
    summary="",
    tables=(
        Table(name="one", map="one", programs=("hook",), summary=""),
        Table(name="two", map="two", programs=("hook",), summary=""),
    ),
    streams=(Stream(name="three", map="three", programs=("hook",), summary=""),),
    knobs=(Knob("some", ""), Knob("all", "")),
)


def test_an_output_that_is_not_there_is_told_with_those_that_are() -> None:
    told = r"^find output made\.four: there is none of that name: valid: one, two, three$"
    with pytest.raises(ProbeError, match=told):
        RunControl(MADE, "four")
    assert RunControl(MADE).output is MADE.tables[0]


def test_a_knob_that_is_not_there_is_told_with_those_that_are() -> None:
    with pytest.raises(
        KnobError, match=r"^set sume of probe made: there is no such knob: valid: all, rate_max, some$"
    ):
        RunControl(MADE, "three", values={"sume": 1})
