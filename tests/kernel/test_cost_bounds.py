"""What may not grow unseen: instructions and calls of the packaged programs, modules of a start; by counts, never by seconds.

Who makes a program larger on purpose runs ``python tools/cost_bounds.py`` and says why in the commit.
"""

from __future__ import annotations

import json

import pytest

import cost_bounds

pytestmark = pytest.mark.host_only

SLACK = 1.1
"""Another compiler, or another verifier, counts a little differently."""
BOUNDS = json.loads(cost_bounds.COSTS.read_text())


def grown(bounds: cost_bounds.Costs, found: cost_bounds.Costs, slack: float) -> list[str]:
    """Name what is larger than its bound allows."""
    return [
        f"{name}: {counted} {what}, {bounds[name][what]} were bound"
        for name, counts in found.items()
        for what, counted in counts.items()
        if name in bounds and what in bounds[name] and counted > bounds[name][what] * slack
    ]


def test_no_program_has_grown_beyond_its_bound() -> None:
    """An instruction more runs for every event, a call more is a map operation more."""
    found = cost_bounds.programs()

    assert sorted(found) == sorted(BOUNDS["programs"])
    assert grown(BOUNDS["programs"], found, SLACK) == []


def test_no_start_imports_more_than_it_did() -> None:
    found = cost_bounds.starts()

    assert sorted(found) == sorted(BOUNDS["starts"])
    assert grown(BOUNDS["starts"], found, SLACK) == []


def test_growth_is_seen() -> None:
    """The guard can fail."""
    bounds = {"a program": {"instructions": 100, "calls": 3}}

    assert grown(bounds, {"a program": {"instructions": 111, "calls": 4}}, SLACK) == [
        "a program: 111 instructions, 100 were bound",
        "a program: 4 calls, 3 were bound",
    ]
    assert grown(bounds, {"a program": {"instructions": 110, "calls": 3}}, SLACK) == []
