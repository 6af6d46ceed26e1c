"""An OTLP/gRPC receiver of the tests' own, on loopback, which misbehaves as it is told."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

SERVICES = {
    "opentelemetry.proto.collector.metrics.v1.MetricsService": (
        ExportMetricsServiceRequest,
        ExportMetricsServiceResponse,
    ),
    "opentelemetry.proto.collector.logs.v1.LogsService": (
        ExportLogsServiceRequest,
        ExportLogsServiceResponse,
    ),
}


@dataclass
class GrpcAnswer:
    """What a receiver answers; ``retry_s`` goes into a RetryInfo."""

    code: grpc.StatusCode = grpc.StatusCode.OK
    retry_s: float | None = None
    delay_s: float = 0.0
    rejected: int = 0


class GrpcReceiver:
    """A running receiver: its port, and what it was sent."""

    def __init__(self) -> None:
        self.port = 0
        self.answers: Callable[[int], GrpcAnswer] = lambda _: GrpcAnswer()
        self.calls: list[tuple[Any, GrpcAnswer, dict[str, str], float]] = []
        self._lock = threading.Lock()

    @property
    def taken(self) -> list[Any]:
        return [message for message, answer, *_ in self.calls if answer.code is grpc.StatusCode.OK]

    def call(self, request: Any, context: Any, response: Any) -> Any:
        with self._lock:
            answer = self.answers(len(self.calls))
            self.calls.append((request, answer, dict(context.invocation_metadata()), time.monotonic()))
        time.sleep(answer.delay_s)
        if answer.code is not grpc.StatusCode.OK:
            status = Status(code=answer.code.value[0], message="as told")
            if answer.retry_s is not None:
                delay = Duration()
                delay.FromNanoseconds(int(answer.retry_s * 1e9))
                status.details.add().Pack(RetryInfo(retry_delay=delay))
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(answer.code, "as told")
        made = response()
        if answer.rejected:
            made.partial_success.rejected_data_points = answer.rejected
            made.partial_success.error_message = "too old"
        return made


@contextmanager
def grpc_receiver(*, port: int = 0, credentials: Any = None) -> Iterator[GrpcReceiver]:
    """Run a receiver on loopback."""
    receiver = GrpcReceiver()
    server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.so_reuseport", 0)])
    for service, (request, response) in SERVICES.items():
        handler = grpc.unary_unary_rpc_method_handler(
            lambda request, context, response=response: receiver.call(request, context, response),
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {"Export": handler}),))
    address = f"127.0.0.1:{port}"
    receiver.port = (
        server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    )
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait(10)
