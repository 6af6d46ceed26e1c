"""What the maps of each probe take."""

from __future__ import annotations

import gc
import os
from dataclasses import replace

import pytest

from sonde.bpf.object import ObjectSpec
from sonde.probe import Probe, Stream, Table, Variant
from sonde.probes import all_probes, probe
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


def test_what_a_kernel_refused_is_freed_at_once() -> None:
    """Old kernels refuse the first variant, at each start: a process that starts often must not gather objects."""
    syscalls = probe("syscalls")
    refused = Variant("refused", types={"count_enter": "xdp"})
    gc.collect()
    gc.disable()
    # The failure of another test holds what it had.
    before = [each for each in gc.get_objects() if isinstance(each, ObjectSpec)]
    try:
        with Run(replace(syscalls, variants=(refused, *syscalls.variants)), "counts") as run:
            assert run.describe()["variant"] != "refused"
        assert before == [each for each in gc.get_objects() if isinstance(each, ObjectSpec)]
    finally:
        gc.enable()
