"""Probes, one folder each; a folder with a ``probe.py`` is a probe, no list names them."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Mapping
from types import MappingProxyType

from sonde.errors import ProbeError
from sonde.probe import Probe


@functools.cache
def probe_names() -> tuple[str, ...]:
    """Name all probes, without importing them."""
    return tuple(
        sorted(
            module.name
            for module in pkgutil.iter_modules(__path__)
            if module.ispkg and not module.name.startswith("_")
        )
    )


def probe(name: str) -> Probe:
    """Find a probe; raises ProbeError with the names that there are."""
    if name not in probe_names():
        valid = ", ".join(probe_names())
        raise ProbeError(f"find probe {name}", why="there is none of that name", hint=f"valid: {valid}")
    found: Probe = importlib.import_module(f"{__name__}.{name}.probe").PROBE
    return found


def all_probes() -> Mapping[str, Probe]:
    """Import every probe's declarations (no NumPy, no kernel)."""
    return MappingProxyType({name: probe(name) for name in probe_names()})
