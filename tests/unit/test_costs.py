"""What an event costs is declared by each output, for the agent's budget, and measured in the probe's README."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import sonde.probes
from sonde.probes import all_probes

FOLDER = Path(sonde.probes.__file__).parent
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("probe", "output"),
    [(probe.name, output.name) for probe in all_probes().values() for output in probe.outputs],
)
def test_an_output_says_what_an_event_costs(probe: str, output: str) -> None:
    """Without it the budget would take it for nothing."""
    assert all_probes()[probe].output(output).cost_ns > 0
    assert "## Cost" in (FOLDER / probe / "README.md").read_text()


def test_system_calls_cost_what_their_readme_says() -> None:
    text = (FOLDER / "syscalls" / "README.md").read_text()
    for output in all_probes()["syscalls"].outputs:
        assert f" {output.cost_ns:,g} ns" in text.replace("**", ""), output.name


def test_what_the_verifier_walks_is_what_the_rules_say() -> None:
    """The golden file is written anew where a program grows on purpose; the document is not, by itself."""
    programs = json.loads((ROOT / "tests" / "golden" / "costs.json").read_text())["programs"]
    walked = [
        f"{programs[f'syscalls.{name}']['verified']:,}"
        for name in ("counts: count_enter", "latency: latency_enter", "latency: latency_exit")
    ]

    told = "the verifier walks {} instructions for count-only, {} and {} for latency's two programs"
    assert told.format(*walked) in (ROOT / "docs" / "best-practices.md").read_text()
