"""Requests read back, by opentelemetry-proto's messages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from sonde.exporters.otlp.metrics import MetricsEncoder
from sonde.records.metrics import Snapshot

ROOM = 4_000_000


def encoded(
    snapshot: Snapshot, *, encoder: MetricsEncoder | None = None, size_max_bytes: int = ROOM
) -> list[Any]:
    """Encode a snapshot and read its requests; all of them are delivered."""
    encoder = encoder or MetricsEncoder(temporality="cumulative", size_max_bytes=size_max_bytes)
    found = []
    for request in encoder.requests(snapshot):
        assert len(request.body) <= size_max_bytes
        if request.items:
            found.append(ExportMetricsServiceRequest.FromString(request.body))
            assert points_in(found[-1:]) == request.items
        request.delivered()
    encoder.settle()
    return found


def metrics_in(requests: Iterable[Any]) -> Iterator[Any]:
    """Give all metrics."""
    for request in requests:
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                yield from scope.metrics


def data_of(metric: Any) -> Any:
    """Give the data of a metric, whatever its kind."""
    return getattr(metric, metric.WhichOneof("data"))


def points_in(requests: Iterable[Any]) -> int:
    """Count points."""
    return sum(len(data_of(metric).data_points) for metric in metrics_in(requests))


def plain(value: Any) -> Any:
    """Give an AnyValue as Python's value."""
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [plain(each) for each in value.array_value.values]
    return getattr(value, kind)


def attributes_of(point: Any) -> dict[str, Any]:
    """Give the attributes of a point, record or resource."""
    names = [each.key for each in point.attributes]
    assert len(set(names)) == len(names)
    return {each.key: plain(each.value) for each in point.attributes}


def totals(requests: Iterable[Any], name: str, *by: str) -> dict[tuple[Any, ...], int]:
    """Give the newest value of each series of a counter, summed by some attributes."""
    newest: dict[Any, tuple[int, int]] = {}
    for metric in metrics_in(requests):
        if metric.name != name:
            continue
        for point in data_of(metric).data_points:
            key = tuple(sorted(attributes_of(point).items()))
            newest[key] = max(newest.get(key, (0, 0)), (point.time_unix_nano, point.as_int))
    found: dict[tuple[Any, ...], int] = {}
    for key, (_, value) in newest.items():
        group = tuple(dict(key).get(each) for each in by)
        found[group] = found.get(group, 0) + value
    return found


def summed(requests: Iterable[Any], name: str) -> int:
    """Add up every point of a counter: what a receiver of differences has."""
    return sum(
        point.as_int
        for metric in metrics_in(requests)
        if metric.name == name
        for point in data_of(metric).data_points
    )


def log_records_in(requests: Iterable[Any]) -> list[Any]:
    """Give all log records."""
    return [
        record
        for request in requests
        for resource in request.resource_logs
        for scope in resource.scope_logs
        for record in scope.log_records
    ]
