"""sonde's own probes: each output is loaded, attached, and let go."""

from __future__ import annotations

from collections.abc import Iterator

from sonde.cli.checkup.check import Check
from sonde.cli.rehearsal import rehearse
from sonde.probes import all_probes

TITLE, ORDER = "Probes", 5


def checks() -> Iterator[Check]:
    """Run every output for a moment; tell the hooks that were chosen, and the memory of the maps."""
    for name, probe in all_probes().items():
        for each in rehearse(probe):
            label = f"{name}.{each.output.name}"
            if each.value:
                here, there = each.memory_bytes, int(each.chosen["map_memory_bytes_128_cpus"])
                found = f"{', '.join(each.hooks)}; maps {_mebibytes(here)} here, {_mebibytes(there)} with 128 CPUs"
                yield Check(label, True, found, is_needed=True)
            else:
                yield Check(label, each.value, each.reason, "what is red above", is_needed=True)


def _mebibytes(size_bytes: int) -> str:
    return f"{size_bytes / (1 << 20):.1f} MiB"
