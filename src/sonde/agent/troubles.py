"""What keeps exporters from delivering: said when it begins, when it changes, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonde.exporters.exporter import Exporter

AGAIN_S = 60.0
"""A warning for each exporter in so long at most: a receiver that falters must not fill a journal."""


@dataclass(slots=True)
class Told:
    """What was last said of an exporter, and when; no problem where it was said that it is over."""

    problem: str = ""
    at: float = float("-inf")


@dataclass(slots=True)
class Troubles:
    """Compares what exporters say of themselves with what was said of them; ``warn`` and ``inform`` are told."""

    warn: Callable[[str], None]
    inform: Callable[[str], None]
    _told: dict[int, Told] = field(default_factory=dict)

    def look(self, exporters: Iterable[Exporter], now: float) -> None:
        """Say what has changed; who is no longer among them is forgotten."""
        before, self._told = self._told, {}
        for exporter in exporters:
            told = self._told[id(exporter)] = before.get(id(exporter)) or Told()
            problem = exporter.status().problem
            if problem and problem != told.problem and now >= told.at + AGAIN_S:
                told.problem, told.at = problem, now
                self.warn(problem)
            elif told.problem and not problem:
                told.problem = ""
                self.inform(f"{exporter.name} delivers again")
