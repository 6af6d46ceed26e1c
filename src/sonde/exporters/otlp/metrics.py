"""Snapshots as OTLP requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1 import metrics_pb2 as proto

from sonde.exporters.otlp.attributes import AttributeCache, keys_of, names_of
from sonde.exporters.otlp.delta import Deltas
from sonde.exporters.otlp.points import histogram_points, number_points
from sonde.exporters.otlp.requests import Envelope, Group, Packer, Request
from sonde.exporters.otlp.scope import resource_field, scope_field
from sonde.exporters.otlp.wire import tag

if TYPE_CHECKING:
    from sonde.exporters.otlp.settings import Temporality
    from sonde.records.metrics import Metric, Series, Snapshot

_CACHED_METRICS_MAX = 1_000

CUMULATIVE = proto.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = proto.AGGREGATION_TEMPORALITY_DELTA


class MetricsEncoder:
    """Makes requests of snapshots; it keeps what one export has in common with the next.

    With ``temporality`` delta, counters and histograms are what was added since the last delivery, as
    OpenTelemetry's preference says; up-down counters and gauges stay what they are. Used from one thread.
    """

    def __init__(self, *, temporality: Temporality, size_max_bytes: int) -> None:
        self._size_max_bytes = size_max_bytes
        self._caches: dict[tuple[str, bool, tuple[str, ...]], AttributeCache] = {}
        self._is_delta = temporality == "delta"
        self.deltas = Deltas()
        """What was delivered as differences; where it is cumulative now, what was before: it may be so again."""

    def requests(self, snapshot: Snapshot) -> Iterator[Request]:
        """Give the requests, each encoded when it is asked for; ``settle`` must follow."""
        resource = resource_field(proto.ResourceMetrics, snapshot.resource)
        envelope = Envelope(
            (tag(ExportMetricsServiceRequest, "resource_metrics"), resource),
            (tag(proto.ResourceMetrics, "scope_metrics"), scope_field(proto.ScopeMetrics)),
        )
        packer = Packer(envelope, size_max_bytes=self._size_max_bytes)
        return packer.pack(self._group(series) for series in snapshot.series if len(series))

    def resume(self, delivered: Deltas) -> None:
        """Go on with the differences to what another has delivered, so that nothing is told twice."""
        self.deltas = delivered.copy()

    def settle(self) -> None:
        """End a snapshot: what its requests delivered is not in the next differences."""
        self.deltas.settle()

    def _group(self, series: Series) -> Group:
        keys = keys_of(series)
        if not self._is_delta or series.metric.kind not in ("counter", "histogram"):
            return Group(self._points(series, keys), _envelope(series.metric, CUMULATIVE))
        difference, delivered = self.deltas.since_delivered(series, keys)
        return Group(self._points(difference, keys), _envelope(series.metric, DELTA), delivered)

    def _points(self, series: Series, keys: list[tuple[object, ...]]) -> list[bytes]:
        is_histogram = series.metric.kind == "histogram"
        attributes = self._cache(series, is_histogram=is_histogram).encode(keys)
        return histogram_points(series, attributes) if is_histogram else number_points(series, attributes)

    def _cache(self, series: Series, *, is_histogram: bool) -> AttributeCache:
        found = (series.metric.name, is_histogram, names_of(series))
        if found not in self._caches:
            if len(self._caches) >= _CACHED_METRICS_MAX:
                self._caches.clear()
            point = proto.ExponentialHistogramDataPoint if is_histogram else proto.NumberDataPoint
            self._caches[found] = AttributeCache(point, names_of(series))
        return self._caches[found]


def _envelope(metric: Metric, temporality: proto.AggregationTemporality.ValueType) -> Envelope:
    """Give what stands around the points of a metric: its name, and the kind of its data."""
    head: bytes = proto.Metric(
        name=metric.name, unit=metric.unit, description=metric.description
    ).SerializeToString()
    data: proto.Sum | proto.Gauge | proto.ExponentialHistogram
    if metric.kind == "gauge":
        field, data = "gauge", proto.Gauge()
    elif metric.kind == "histogram":
        field, data = "exponential_histogram", proto.ExponentialHistogram(aggregation_temporality=temporality)
    else:
        is_monotonic = metric.kind == "counter"
        field, data = "sum", proto.Sum(aggregation_temporality=temporality, is_monotonic=is_monotonic)
    return Envelope(
        (tag(proto.ScopeMetrics, "metrics"), head), (tag(proto.Metric, field), data.SerializeToString())
    )
