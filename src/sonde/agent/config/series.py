"""Section ``[series]``: how many series a metric may have, and what they are of."""

from __future__ import annotations

from dataclasses import dataclass

from sonde.agent.config.key import key
from sonde.agent.config.kind import Choice, Integer, Several

BY = (
    "executable",
    "path",
    "command",
    "user",
    "parent",
    "pid",
    "unit",
    "user_unit",
    "container",
    "pod",
    "cgroup",
)
"""The words of ``sonde.enrich.who.ATTRIBUTES``, which is imported where it is needed; a test compares them."""


@dataclass(frozen=True, slots=True)
class SeriesConfig:
    """Bounds and keys of the series."""

    max: int = key(
        Integer(1, 1_000_000), 2000, "Series of each metric at most; the rest is added up as one more."
    )
    by: tuple[str, ...] = key(
        Several(Choice(BY, noun="key of series")),
        ("executable", "unit", "container"),
        f"What makes a series, of: {', '.join(BY)}. A pid makes one of each process.",
    )
