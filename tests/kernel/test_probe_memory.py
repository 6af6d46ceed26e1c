"""What the maps of each probe take."""

from __future__ import annotations

import os

import pytest

from sonde.probe import Probe, Stream, Table
from sonde.probes import all_probes
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]
OUTPUTS = [(each, output) for each in all_probes().values() for output in each.outputs]
MOST_BYTES = 64 << 20


@pytest.mark.parametrize(
    ("of", "output"), OUTPUTS, ids=[f"{each.name}.{output.name}" for each, output in OUTPUTS]
)
def test_maps_are_bounded_on_a_large_machine(of: Probe, output: Table | Stream) -> None:
    """64 MB at an output's defaults, where there are 128 CPUs."""
    with Run(of, output.name) as run:
        told = run.describe()

    assert 0 < told["map_memory_bytes"] <= told["map_memory_bytes_128_cpus"] <= MOST_BYTES
