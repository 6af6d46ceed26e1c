"""Receivers of the tests' own, on loopback: one that takes everything, and misbehaves as it is told."""

from __future__ import annotations

import gzip
import http.server
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

REQUESTS = {"/v1/metrics": ExportMetricsServiceRequest, "/v1/logs": ExportLogsServiceRequest}

DEADLINE_S = 60.0


def until(is_so: Callable[[], object], *, deadline_s: float = DEADLINE_S) -> None:
    """Wait until something is so; the machine may be slow."""
    end = time.monotonic() + deadline_s
    while not is_so():
        assert time.monotonic() < end, f"not within {deadline_s} s"
        time.sleep(0.01)


@dataclass
class Answer:
    """What a receiver answers a request with, before it takes it."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay_s: float = 0.0
    closes: str = ""
    """``before`` the request is read, ``after``, ``amid`` the answer, or at its ``status`` or in its ``headers``."""


CUT = {"status": b"HTTP/1.1 200 OK\r\n", "headers": b"HTTP/1.1 200 OK\r\ncontent-le"}
"""What there is of an answer that ends before its headers do."""


@dataclass
class Received:
    """A request that was taken or refused."""

    path: str
    headers: dict[str, str]
    message: Any
    size_bytes: int
    answer: Answer
    at_s: float


class HttpReceiver:
    """An OTLP/HTTP receiver; ``answer`` tells what to do with the next request."""

    def __init__(self, server: http.server.ThreadingHTTPServer) -> None:
        self.server = server
        self.requests: list[Received] = []
        self.answers: Callable[[int], Answer] = lambda _: Answer()
        self.connections = 0

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def taken(self) -> list[Received]:
        return [
            each
            for each in self.requests
            if 200 <= each.answer.status < 300 and each.answer.closes in ("", "amid")
        ]

    def metric_requests(self) -> list[Any]:
        return [each.message for each in self.taken if each.path.endswith("/metrics")]

    def log_requests(self) -> list[Any]:
        return [each.message for each in self.taken if each.path.endswith("/logs")]


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    receiver: HttpReceiver

    def setup(self) -> None:
        super().setup()
        self.receiver.connections += 1

    def do_POST(self) -> None:
        answer = self.receiver.answers(len(self.receiver.requests))
        if answer.closes == "before":
            self._record(answer, b"")
            self._reset()
            return
        body = self._body()
        self._record(answer, body)
        time.sleep(answer.delay_s)
        if answer.closes == "after":
            self._reset()
            return
        if answer.closes in CUT:
            # Whoever ends so may not have taken it.
            self.wfile.write(CUT[answer.closes])
            self._reset()
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        extra = 10 if answer.closes == "amid" else 0
        self.send_header("Content-Length", str(len(answer.body) + extra))
        self.end_headers()
        self.wfile.write(answer.body)
        if extra:
            self._reset()

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers["Content-Length"]))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _record(self, answer: Answer, body: bytes) -> None:
        message = REQUESTS["/v1/logs" if self.path.endswith("logs") else "/v1/metrics"]()
        message.ParseFromString(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        taken = Received(self.path, headers, message, len(body), answer, time.monotonic())
        self.receiver.requests.append(taken)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.close()

    def log_message(self, *_: Any) -> None: ...


@contextmanager
def http_receiver(*, port: int = 0, context: ssl.SSLContext | None = None) -> Iterator[HttpReceiver]:
    """Run a receiver on loopback."""

    class Handler(_Handler):
        pass

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """Connections that end early are what the tests are about."""

        def get_request(self) -> Any:
            connection, address = super().get_request()
            if context is not None:
                connection = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            return connection, address

    server = Server(("127.0.0.1", port), Handler)
    Handler.receiver = receiver = HttpReceiver(server)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)


@contextmanager
def full_listener() -> Iterator[int]:
    """A port whose backlog is full: the kernel answers no more beginnings."""
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            client = waiting.enter_context(socket.socket())
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(listener.getsockname())
        yield listener.getsockname()[1]


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port that refuses connections until a receiver listens on it: it is held, or others might get it meanwhile."""
    with socket.socket() as held:
        # Who listens there with the same option may, as all receivers do.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield int(held.getsockname()[1])
