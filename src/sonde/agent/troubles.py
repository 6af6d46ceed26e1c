"""What keeps exporters from delivering: said when it begins, when it changes, and when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonde.exporters.exporter import Exporter

AGAIN_S, AT_ONCE = 60.0, 5
"""A warning for each exporter in so long, and so many at once: a receiver that falters must not fill a journal."""


@dataclass(slots=True)
class Told:
    """What was last said of an exporter: no problem where it was said that it is over.

    ``left`` is how many warnings there may have been at ``at``.
    """

    at: float
    problem: str = ""
    left: float = AT_ONCE

    def may_warn(self, now: float) -> bool:
        """Take one of the warnings that there may be, if there is one."""
        self.left, self.at = min(AT_ONCE, self.left + (now - self.at) / AGAIN_S), now
        if self.left < 1:
            return False
        self.left -= 1
        return True


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
            told = self._told[id(exporter)] = before.get(id(exporter)) or Told(now)
            problem = exporter.status().problem
            if problem and problem != told.problem and told.may_warn(now):
                told.problem = problem
                self.warn(problem)
            elif told.problem and not problem:
                told.problem = ""
                self.inform(f"{exporter.name} delivers again")
