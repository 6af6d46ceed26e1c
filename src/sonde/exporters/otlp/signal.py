"""What the two signals differ in on their way: services, paths, answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal: its name, as in ``/v1/metrics``, gRPC's method, and how its answer is read."""

    name: str
    method: str
    parse: Callable[[bytes], Any]
    rejected: str

    def rejected_of(self, response: Any) -> tuple[int, str]:
        """Tell how many items a receiver took the request without, and why it says so."""
        partial = response.partial_success
        return max(0, getattr(partial, self.rejected)), partial.error_message


METRICS = Signal(
    name="metrics",
    method="/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    parse=ExportMetricsServiceResponse.FromString,
    rejected="rejected_data_points",
)
LOGS = Signal(
    name="logs",
    method="/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    parse=ExportLogsServiceResponse.FromString,
    rejected="rejected_log_records",
)
