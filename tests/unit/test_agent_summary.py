"""What the agent says when it stops."""

from __future__ import annotations

from typing import Any

import pytest

from sonde.agent.summary import Summary


def line_of(**metric: Any) -> str:
    """Give the line of one metric."""
    found = {"total": 1_009, "series": 2, "top": {"cat": 1_000, "\x1b[2J": 9}, "ended": 0, **metric}
    cost = {"share": 0.01, "start_s": 0.4, "cpu_s": {}, "memory_bytes": {}}
    return list(Summary(1.0, {}, {"sonde.syscall.count": found}, {}, cost).lines())[1]


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
