"""What an exporter is to the agent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sonde.records.metrics import Snapshot
    from sonde.records.model import RecordBatch


SUPERSEDED = "superseded"
"""The cause of drops by which nothing is lost: later points have the same totals, and what was added."""


@dataclass(frozen=True, slots=True)
class Status:
    """How an exporter does: cumulative counts since it was made, and what holds now.

    Points are data points of metrics, records are those of streams. ``points_offered`` = delivered + dropped (by
    cause) + waiting, and so for records. ``failures`` counts attempts by cause (``unavailable``, ``timeout``,
    ``status 429``); ``latency_s`` is how long the last delivery took. ``is_healthy`` is off while it cannot deliver,
    and ``problem`` then says why in one sentence.
    """

    points_offered: int = 0
    points_delivered: int = 0
    points_waiting: int = 0
    points_dropped: Mapping[str, int] = field(default_factory=dict)
    records_offered: int = 0
    records_delivered: int = 0
    records_waiting: int = 0
    records_dropped: Mapping[str, int] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    requests: int = 0
    queue_length: int = 0
    queue_capacity: int = 0
    latency_s: float = 0.0
    is_healthy: bool = True
    problem: str = ""

    def __add__(self, later: Status) -> Status:
        """Add the counts of an exporter that came later, in the place of this one; what holds now is that one's."""
        return replace(
            later,
            points_offered=self.points_offered + later.points_offered,
            points_delivered=self.points_delivered + later.points_delivered,
            points_waiting=self.points_waiting + later.points_waiting,
            points_dropped=_added(self.points_dropped, later.points_dropped),
            records_offered=self.records_offered + later.records_offered,
            records_delivered=self.records_delivered + later.records_delivered,
            records_waiting=self.records_waiting + later.records_waiting,
            records_dropped=_added(self.records_dropped, later.records_dropped),
            failures=_added(self.failures, later.failures),
            requests=self.requests + later.requests,
        )

    @property
    def lost(self) -> int:
        """Count points and records that were dropped, but those in whose place others came."""
        both = (*self.points_dropped.items(), *self.records_dropped.items())
        return sum(count for cause, count in both if cause != SUPERSEDED)


def _added(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


class Exporter(Protocol):
    """Writes metrics and records to one place.

    ``export`` and ``log`` take what they are given and return at once: what cannot be delivered now waits in a
    bounded queue, and what is dropped from it is counted. They raise nothing for a receiver's failure. All are called
    from one thread; an exporter that delivers from another guards its own state.
    """

    @property
    def name(self) -> str:
        """Give its name in configuration, logs and metrics: ``otlp``, ``prometheus``, ``file``."""
        ...

    def export(self, snapshot: Snapshot) -> None:
        """Take the metrics of a moment; they are cumulative, so a later snapshot replaces an earlier one."""
        ...

    def log(self, batch: RecordBatch) -> None:
        """Take records of a stream."""
        ...

    def status(self) -> Status:
        """Tell how it does."""
        ...

    def close(self, *, timeout_s: float) -> None:
        """Deliver what waits, for so long at most; then count it as dropped, and end."""
        ...
