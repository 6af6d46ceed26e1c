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
    """What was last said of an exporter: no problem where it was said that it is over; ``lost`` is as of then.

    ``unsaid`` is the last problem for which there was no warning any more; ``left`` is how many there may have been at
    ``at``.
    """

    exporter: Exporter
    at: float
    lost: int = 0
    problem: str = ""
    unsaid: str = ""
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
    _told: list[Told] = field(default_factory=list)

    def look(self, exporters: Iterable[Exporter], now: float) -> None:
        """Say what has changed; who is no longer among them is forgotten."""
        self._told = [self._of(exporter, now) for exporter in exporters]
        for told in self._told:
            status = told.exporter.status()
            if status.problem:
                self._trouble(told, status.problem, now)
            elif told.problem:
                told.problem, told.unsaid = "", ""
                lost, told.lost = status.lost - told.lost, status.lost
                more = f"; {lost:,} points and records were dropped meanwhile" if lost else ""
                (self.warn if lost else self.inform)(f"{told.exporter.name} delivers again{more}")
            elif status.lost > told.lost and told.may_warn(now):
                # It began and ended between two looks, or when enough had been said.
                lost, told.lost = status.lost - told.lost, status.lost
                why, told.unsaid = f": {told.unsaid}" if told.unsaid else "", ""
                self.warn(f"{told.exporter.name} delivers, and has dropped {lost:,} points and records{why}")
            elif status.lost == told.lost:
                told.unsaid = ""

    def _trouble(self, told: Told, problem: str, now: float) -> None:
        if problem == told.problem:
            return
        if told.may_warn(now):
            told.problem, told.unsaid = problem, ""
            self.warn(problem)
        elif not told.problem:
            told.unsaid = problem

    def _of(self, exporter: Exporter, now: float) -> Told:
        return next((each for each in self._told if each.exporter is exporter), None) or Told(exporter, now)
