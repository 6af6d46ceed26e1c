"""Makes what one signal needs: a lane, and what waits for it. Imports all of OTLP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sonde.exporters.otlp.lane import Lane, Supply
from sonde.exporters.otlp.ledger import Ledger
from sonde.exporters.otlp.logs import LogsEncoder
from sonde.exporters.otlp.metrics import MetricsEncoder
from sonde.exporters.otlp.retry import Backoff
from sonde.exporters.otlp.settings import OtlpDelivery, OtlpSettings
from sonde.exporters.otlp.signal import LOGS, METRICS, Signal
from sonde.exporters.otlp.supplies import LatestSnapshot, RecordQueue
from sonde.exporters.otlp.transport import open_transport


def open_metrics(settings: OtlpSettings, delivery: OtlpDelivery) -> tuple[Lane, LatestSnapshot]:
    """Make the way of the metrics."""
    ledger = Ledger()
    encoder = MetricsEncoder(temporality=settings.temporality, size_max_bytes=settings.request_size_max_bytes)
    latest = LatestSnapshot(encoder, ledger, ended_max=settings.ended_max)
    return _lane(METRICS, settings, delivery, latest, ledger), latest


def open_records(
    settings: OtlpSettings, delivery: OtlpDelivery, *, resource: Callable[[], Mapping[str, Any]]
) -> tuple[Lane, RecordQueue]:
    """Make the way of the records."""
    ledger = Ledger()
    queue = RecordQueue(
        LogsEncoder(size_max_bytes=settings.request_size_max_bytes),
        ledger,
        records_max=settings.queue_records_max,
        bytes_max=settings.queue_bytes_max,
        resource=resource,
    )
    return _lane(LOGS, settings, delivery, queue, ledger), queue


def _lane(
    signal: Signal, settings: OtlpSettings, delivery: OtlpDelivery, supply: Supply, ledger: Ledger
) -> Lane:
    backoff = Backoff(
        initial_s=settings.backoff_initial_s,
        max_s=settings.backoff_max_s,
        asked_max_s=settings.retry_after_max_s,
    )
    return Lane(
        signal.name,
        transport=open_transport(delivery, signal),
        supply=supply,
        ledger=ledger,
        backoff=backoff,
        timeout_s=delivery.timeout_s,
    )
