"""Hooks, maps and helpers: each tried, on this process or in a namespace of its own."""

from __future__ import annotations

from collections.abc import Iterator

from sonde.bpf import features
from sonde.cli.checkup.check import Check

TITLE, ORDER = "Hooks, maps and helpers", 4


def checks() -> Iterator[Check]:
    """Try every feature; what the probes cannot do without shows where they are tried."""
    for support in features.all():
        found = support.feature.title if support else f"{support.feature.title}: {support.reason}"
        # What could not be tried for lack of a capability is mended above.
        yield Check(support.name, support.value, found, support.provides if support.value is False else "")
