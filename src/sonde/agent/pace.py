"""The pace of an exporter that wants metrics less often than they are read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonde.exporters.exporter import Exporter, Status
    from sonde.records.metrics import Snapshot
    from sonde.records.model import RecordBatch


ENDED_MAX = 10_000


class Paced:
    """Hands metrics on to another exporter, which it closes, every ``interval_s`` seconds at most.

    They are cumulative: nothing is lost in between, and the last ones are handed on when it is closed. Records go
    through at once. Metrics that come ``early_s`` before they are due are not kept for a whole interval more.
    """

    def __init__(self, exporter: Exporter, *, interval_s: float, early_s: float) -> None:
        self._exporter = exporter
        self._interval_s, self._early_s = interval_s, early_s
        self._due = float("-inf")
        self._waiting: Snapshot | None = None

    @property
    def name(self) -> str:
        """Give the exporter's name."""
        return self._exporter.name

    def export(self, snapshot: Snapshot) -> None:
        """Hand on the metrics of a moment, or keep them until they are wanted."""
        now = time.monotonic()
        if self._waiting is not None:
            # It brings protobuf along, which an agent without OTLP has no use for, and may not have.
            from sonde.exporters.otlp.ended import carrying

            # Series that ended in between have said their last count to nobody.
            snapshot, _ = carrying(self._waiting, snapshot, ended_max=ENDED_MAX)
        if now < self._due - self._early_s:
            self._waiting = snapshot
            return
        self._due = max(now, self._due) + self._interval_s
        self._waiting = None
        self._exporter.export(snapshot)

    def log(self, batch: RecordBatch) -> None:
        """Hand on records."""
        self._exporter.log(batch)

    def status(self) -> Status:
        """Tell how the exporter does."""
        return self._exporter.status()

    def flushed(self) -> Exporter:
        """Hand on what waits; gives the exporter itself."""
        if self._waiting is not None:
            self._exporter.export(self._waiting)
            self._waiting = None
        return self._exporter

    def reopen(self) -> None:
        """Have it open its files again, where it has some."""
        reopen = getattr(self._exporter, "reopen", None)
        if reopen is not None:
            reopen()

    def close(self, *, timeout_s: float) -> None:
        """Hand on what waits, and close the exporter."""
        self.flushed().close(timeout_s=timeout_s)


def unpaced(exporter: Exporter) -> Exporter:
    """Give an exporter without its pace; what waited for that was handed on."""
    return exporter.flushed() if isinstance(exporter, Paced) else exporter
