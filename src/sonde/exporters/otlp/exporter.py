"""The exporter: takes snapshots and batches at once, and delivers them from threads of its own."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from sonde.errors import ConfigError
from sonde.exporters.exporter import Status
from sonde.exporters.otlp.ledger import State

if TYPE_CHECKING:
    from sonde.exporters.otlp.delta import Deltas
    from sonde.exporters.otlp.lane import Lane
    from sonde.exporters.otlp.settings import OtlpSettings
    from sonde.records.metrics import Snapshot
    from sonde.records.model import RecordBatch


CLOSE_S = 5.0
"""How long a context manager's end may take."""


class OtlpExporter:
    """Sends metrics and records to an OTLP receiver (Exporter); metrics and records do not wait for each other.

    ``resource`` is what the records are of; without it, what the last snapshot was of. Raises ConfigError where the
    extra ``otlp`` is not installed. A context manager; whoever makes it closes it.

    Causes of drops, in its status: ``superseded`` (a later snapshot with the same totals took its place), ``ended``
    (too many series ended while nothing could be delivered), ``queue full``, ``too large`` (for a request alone),
    ``rejected`` (by the receiver, which took the rest), ``status 400`` and the like (it refused the request),
    ``encoding``, ``closed``. A signal for which there is no delivery is not counted at all.
    """

    name = "otlp"

    def __init__(self, settings: OtlpSettings, *, resource: Mapping[str, Any] | None = None) -> None:
        self._settings = settings
        self._given_resource = resource
        self._resource: Mapping[str, Any] = resource or {}
        # Where this one sends no metrics: what was delivered before, for who sends them again.
        self._delivered: Deltas | None = None
        try:
            # Protobuf, and what carries it, are loaded by whoever sends.
            from sonde.exporters.otlp.opening import open_metrics, open_records

            self._metrics = open_metrics(settings, settings.metrics) if settings.metrics else None
            self._records = (
                open_records(settings, settings.logs, resource=lambda: self._resource)
                if settings.logs
                else None
            )
        except ModuleNotFoundError as error:
            raise ConfigError(
                "otlp", reason=f"the package {error.name} is not installed", hint="pip install 'sonde[otlp]'"
            ) from error

    def export(self, snapshot: Snapshot) -> None:
        """Take the metrics of a moment."""
        if self._given_resource is None:
            self._resource = snapshot.resource
        if self._metrics is None:
            return
        lane, latest = self._metrics
        with lane.changed:
            latest.put(snapshot)
            lane.wake()

    def log(self, batch: RecordBatch) -> None:
        """Take records of a stream."""
        if self._records is None or not len(batch):
            return
        lane, queue = self._records
        with lane.changed:
            queue.put(batch)
            lane.wake()

    def status(self) -> Status:
        """Tell how it does."""
        points = self._metrics[0].ledger.state() if self._metrics else State()
        records = self._records[0].ledger.state() if self._records else State()
        problems = [each.problem for each in (points, records) if each.problem]
        return Status(
            points_offered=points.offered,
            points_delivered=points.delivered,
            points_waiting=points.waiting,
            points_dropped=points.dropped,
            records_offered=records.offered,
            records_delivered=records.delivered,
            records_waiting=records.waiting,
            records_dropped=records.dropped,
            failures=Counter(points.failures) + Counter(records.failures),
            requests=points.requests + records.requests,
            queue_length=self._records[1].records if self._records else 0,
            queue_capacity=self._settings.queue_records_max if self._records else 0,
            latency_s=max(points.latency_s, records.latency_s),
            is_healthy=not problems,
            problem="; ".join(problems),
        )

    def describe(self, resource: Mapping[str, Any]) -> None:
        """Say what records are of until there is a snapshot."""
        if self._given_resource is None:
            self._resource = resource

    def resume(self, former: OtlpExporter) -> None:
        """Go on with the differences to what one has delivered that has ended."""
        delivered = former._metrics[1].delivered if former._metrics is not None else former._delivered
        if self._metrics is None:
            self._delivered = delivered
        elif delivered is not None:
            self._metrics[1].resume(delivered)

    def hold(self) -> None:
        """Deliver nothing until ``succeed`` has come to its end, or ``release`` is called."""
        for lane in self._lanes():
            lane.hold()

    def release(self) -> None:
        """Deliver what waits, and what comes."""
        for lane in self._lanes():
            lane.release()

    def give_up(self) -> None:
        """Make no further attempt, and end the one that is under way: who follows, or the end, waits for it."""
        for lane in self._lanes():
            lane.give_up()

    def _lanes(self) -> list[Lane]:
        return [found[0] for found in (self._metrics, self._records) if found is not None]

    def succeed(self, former: OtlpExporter) -> None:
        """Go on where another ends: with what waits there, and with what its receiver has; it is closed then.

        Attempts that are under way there have the time that attempts have, and a signal that this one does not send is
        delivered there in it. Meanwhile this one takes what it is given, if it is on ``hold``.
        """
        deliveries = (former._settings.metrics, former._settings.logs)
        deadline = time.monotonic() + max((each.timeout_s for each in deliveries if each), default=0.0)
        both = [(self._metrics, former._metrics), (self._records, former._records)]
        handed = [(ours, theirs) for ours, theirs in both if ours is not None and theirs is not None]
        for _, theirs in handed:
            theirs[0].stop()
        if former._metrics is None:
            self.resume(former)
        try:
            for ours, theirs in handed:
                theirs[0].wait_for_end(max(0.0, deadline - time.monotonic()))
                with theirs[0].changed, ours[0].changed:
                    ours[1].succeed(theirs[1])  # type: ignore[arg-type]
        finally:
            self.release()
            former.close(timeout_s=max(0.0, deadline - time.monotonic()))
            if self._metrics is None:
                self.resume(former)

    def close(self, *, timeout_s: float) -> None:
        """Deliver what waits, for so long at most; then count it as dropped, and end. Again is fine."""
        deadline = time.monotonic() + timeout_s
        for lane in self._lanes():
            lane.finish_by(deadline)
        for lane in self._lanes():
            lane.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(timeout_s=CLOSE_S)
