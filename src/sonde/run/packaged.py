"""Probes' compiled objects, which come with the package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.bpf.safe import read_packaged

if TYPE_CHECKING:
    from sonde.probe import Probe


def object_of(probe: Probe) -> bytes:
    """Read a probe's compiled object; raises UnsafeObjectError where it is not the one that was built."""
    return read_packaged(f"probes/{probe.name}/probe.bpf.o")
