"""What the agent says when it stops."""

from __future__ import annotations

from typing import Any

import pytest

from sonde.agent.summary import Summary

COST = {"share": 0.01, "start_s": 0.4, "cpu_s": {}, "memory_bytes": {}, "detached_s": 0.0}


def line_of(**metric: Any) -> str:
    """Give the line of one metric."""
    found = {"total": 1_009, "series": 2, "top": {"cat": 1_000, "\x1b[2J": 9}, "ended": 0, **metric}
    return list(Summary(1.0, {}, {"sonde.syscall.count": found}, {}, COST).lines())[1]


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        (0, "  sonde.syscall.count: 1,009 in 2 series: cat 1,000, \\x1b[2J 9"),
        # By pid: what a process has counted goes with it, and the total is less than was aggregated.
        (1_201, "  sonde.syscall.count: 1,009 in 2 series (1,201 more have ended): cat 1,000, \\x1b[2J 9"),
    ],
)
def test_series_that_have_ended_are_told(ended: int, line: str) -> None:
    assert line == line_of(ended=ended)


@pytest.mark.parametrize(("detached_s", "is_told"), [(0.0, False), (3.21, True)])
def test_how_long_nothing_was_measured_is_told(detached_s: float, *, is_told: bool) -> None:
    """What was lost then is in no account, for nothing counted it."""
    lines = list(Summary(1.0, {}, {}, {}, {**COST, "detached_s": detached_s}).lines())

    assert is_told == ("  budget: nothing was measured for 3.2 s, for it cost too much" in lines)
    assert is_told == (len(lines) == 3)
