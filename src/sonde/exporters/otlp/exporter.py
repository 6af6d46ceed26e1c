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
        """Go on with the differences to what one has delivered that ended some time ago."""
        if self._metrics is not None and former._metrics is not None:
            self._metrics[1].resume(former._metrics[1])

    def hold(self) -> None:
        """Deliver nothing until ``succeed`` has come to its end."""
        for found in (self._metrics, self._records):
            if found is not None:
                found[0].hold()

    def succeed(self, former: OtlpExporter, *, timeout_s: float) -> None:
        """Go on where another ends: with what waits there, and with what its receiver has; it is closed then.

        Attempts that are under way there may take so long, and a signal that this one does not send is delivered there.
        Meanwhile this one takes what it is given, if it is on ``hold``.
        """
        deadline = time.monotonic() + timeout_s
        both = [(self._metrics, former._metrics), (self._records, former._records)]
        handed = [(ours, theirs) for ours, theirs in both if ours is not None and theirs is not None]
        for _, theirs in handed:
            theirs[0].stop()
        try:
            for ours, theirs in handed:
                theirs[0].wait_for_end(max(0.0, deadline - time.monotonic()))
                with theirs[0].changed, ours[0].changed:
                    ours[1].succeed(theirs[1])  # type: ignore[arg-type]
        finally:
            for found in (self._metrics, self._records):
                if found is not None:
                    found[0].release()
            former.close(timeout_s=max(0.0, deadline - time.monotonic()))

    def close(self, *, timeout_s: float) -> None:
        """Deliver what waits, for so long at most; then count it as dropped, and end. Again is fine."""
        deadline = time.monotonic() + timeout_s
        lanes = [found[0] for found in (self._metrics, self._records) if found is not None]
        for lane in lanes:
            lane.finish_by(deadline)
        for lane in lanes:
            lane.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(timeout_s=CLOSE_S)
