"""Figures of rounds stay with their round."""

from __future__ import annotations

import operator
from pathlib import Path

import pytest
from benchmarks import results
from benchmarks.gathering import Gathering, in_turn
from benchmarks.results import Column, Part, Results

COLUMNS = (Column("ns", "a call", "ns"), Column("added", "added", "ns"))


def test_rounds_are_gathered_in_order() -> None:
    gathering = Gathering()
    for number in gathering.rounds(2):
        for name in in_turn(("b", "a"), number):
            gathering.add(
                name, "sonde" if name == "a" else "peer", "ns", number + (2.5 if name == "a" else 1)
            )
    gathering.missing("c", "peer", "it is not installed")

    rows = gathering.rows(["a", "b", "c"], COLUMNS)

    assert [(row.contender, row.cells, row.missing) for row in rows] == [
        ("a", {"ns": [2.5, 3.5]}, ""),
        ("b", {"ns": [1, 2]}, ""),
        ("c", {}, "it is not installed"),
    ]


def test_every_second_round_goes_backwards() -> None:
    assert [in_turn("abc", number) for number in range(3)] == ["abc", "cba", "abc"]


def gathered() -> Gathering:
    """Of three rounds, the tool failed in the second; the machine was three times as slow in the third."""
    found = Gathering()
    for _, (floor, tool) in zip(found.rounds(3), [(10, 15), (10, None), (30, 45)], strict=True):
        found.add("floor", "floor", "ns", floor)
        if tool is not None:
            found.add("tool", "peer", "ns", tool)
    return found


def test_a_figure_is_compared_with_its_own_round(tmp_path: Path) -> None:
    """Paired with the second round's floor, the last figure would be 4.5 times that."""
    found = gathered()
    found.derive("added", "ns", "floor", operator.sub)
    part = Part("made", "Made up", "", list(COLUMNS), found.rows(["floor", "tool"], COLUMNS))

    assert part.ratio("ns", "tool", "floor") == 1.5
    assert part.ratio("ns", "floor", "tool") == pytest.approx(2 / 3)
    (tool,) = [row for row in part.rows if row.contender == "tool"]
    assert tool.cells["added"] == [5, None, 15]
    assert (tool.median("ns"), tool.spread("ns"), tool.figures("added")) == (30, (15, 45), [5, 15])
    Results({}, quick=False, parts={"made": part}).write(tmp_path / "results.json")
    assert results.read(tmp_path / "results.json").parts["made"] == part


def test_what_is_not_shown_can_be_kept() -> None:
    """The figure of a call of which the page shows the difference alone."""
    found = gathered()
    found.derive("added", "ns", "floor", operator.sub)

    shown, kept = (found.rows(["floor", "tool"], COLUMNS[1:], also) for also in ([], ["ns"]))

    assert [set(row.cells) for row in shown] == [{"added"}] * 2
    assert [set(row.cells) for row in kept] == [{"added", "ns"}] * 2


def test_a_round_has_one_figure_of_a_key() -> None:
    found = Gathering()
    found.add("a", "sonde", "ns", 1)
    with pytest.raises(ValueError, match="a has its ns of round 1 already"):
        found.add("a", "sonde", "ns", 2)
