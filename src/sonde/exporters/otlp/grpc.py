"""OTLP over gRPC, by grpcio: requests go as the bytes that they are already."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import grpc

from sonde.exporters.otlp.credentials import Credentials
from sonde.exporters.otlp.transport import SPEAKS_NO_TLS, Outcome, shortened
from sonde.version import VERSION

if TYPE_CHECKING:
    from sonde.exporters.otlp.settings import OtlpDelivery
    from sonde.exporters.otlp.signal import Signal

Code = grpc.StatusCode

RETRYABLE = frozenset(
    {
        Code.CANCELLED,
        Code.DEADLINE_EXCEEDED,
        Code.ABORTED,
        Code.OUT_OF_RANGE,
        Code.UNAVAILABLE,
        Code.DATA_LOSS,
    }
)
"""OTLP specification 1.7, "Failures"; RESOURCE_EXHAUSTED is one of them only with a RetryInfo."""

CAUSES = {Code.UNAVAILABLE: "unavailable", Code.DEADLINE_EXCEEDED: "timeout", Code.CANCELLED: "timeout"}

TLS_FAILURE = re.compile(r"certificate|handshake|SSL_ERROR|TLS|verification check failed", re.IGNORECASE)
NO_TLS = "WRONG_VERSION_NUMBER"
PREAMBLE = re.compile(r"^failed to connect to all addresses; last error: (UNKNOWN|UNAVAILABLE): ")
CONNECTING = re.compile(r"failed to connect|connections to all backends|resolution", re.IGNORECASE)
CLOSED = re.compile(r"socket closed|connection reset|goaway|stream removed", re.IGNORECASE)


class GrpcTransport:
    """Calls one method of a channel, which grpcio connects when it is used and keeps."""

    def __init__(self, delivery: OtlpDelivery, signal: Signal) -> None:
        self._signal = signal
        self._target = delivery.target(signal.name)
        self._credentials = Credentials(delivery)
        self._compression = grpc.Compression.Gzip if delivery.compression == "gzip" else None
        # gRPC takes names of metadata in lower case only.
        self._metadata = tuple((name.lower(), value) for name, value in delivery.headers.items())
        self._channel: Any = None
        self._call: Any = None
        self._pending: Any = None
        self._is_aborted = False

    @property
    def destination(self) -> str:
        """Give the target with its scheme."""
        return f"{'https' if self._target.is_tls else 'http'}://{self._target.authority}"

    def send(self, body: bytes, *, timeout_s: float) -> Outcome:
        """Call once; a deadline of gRPC's bounds the time."""
        try:
            call = self._connected()
        except OSError as error:
            return Outcome("certificate", shortened(error.strerror or str(error)), is_retryable=True)
        try:
            self._pending = call.future(
                body, timeout=timeout_s, metadata=self._metadata, compression=self._compression
            )
        except RuntimeError as error:
            return Outcome("no thread", str(error), is_retryable=True)
        try:
            if self._is_aborted:
                self._pending.cancel()
            rejected, message = self._signal.rejected_of(self._pending.result())
        except grpc.FutureCancelledError:
            return Outcome("timeout", "ended before an answer came", is_retryable=True)
        except grpc.RpcError as error:
            if error.code() is Code.UNAVAILABLE and CONNECTING.search(error.details() or ""):
                # A channel goes on connecting by itself, ten times a second: when to try again is retry.py's.
                self.close()
            return _failure(error, is_tls=self._target.is_tls)
        finally:
            self._pending = None
        return Outcome(rejected=rejected, message=shortened(message))

    def _connected(self) -> Any:
        if self._target.is_tls and self._credentials.have_changed():
            self.close()
        if self._call is None:
            self._channel = self._open()
            self._call = self._channel.unary_unary(
                self._signal.method, request_serializer=None, response_deserializer=self._signal.parse
            )
        return self._call

    def _open(self) -> Any:
        options = [
            ("grpc.primary_user_agent", f"sonde/{VERSION}"),
            # The endpoint is where requests go, as with HTTP.
            ("grpc.enable_http_proxy", 0),
            # When to try again is decided in one place (retry.py), and then at once.
            ("grpc.enable_retries", 0),
            ("grpc.initial_reconnect_backoff_ms", 100),
            ("grpc.min_reconnect_backoff_ms", 100),
            ("grpc.max_reconnect_backoff_ms", 100),
            # Another exporter of the process has its own connection, and its own certificates.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if not self._target.is_tls:
            return grpc.insecure_channel(self._target.authority, options)
        authorities, key, certificate = self._credentials.pem()
        credentials = grpc.ssl_channel_credentials(authorities, key, certificate)
        return grpc.secure_channel(self._target.authority, credentials, options)

    def abort(self) -> None:
        """Cancel the call, and every later one."""
        self._is_aborted = True
        pending = self._pending
        if pending is not None:
            pending.cancel()

    def close(self) -> None:
        """Close the channel."""
        channel, self._channel, self._call = self._channel, None, None
        if channel is not None:
            channel.close()


def _failure(error: Any, *, is_tls: bool) -> Outcome:
    code, details = error.code(), PREAMBLE.sub("", error.details() or "")
    asked_s = _retry_info_s(error)
    cause = CAUSES.get(code, f"status {code.name}")
    if is_tls and code is Code.UNAVAILABLE and TLS_FAILURE.search(details):
        cause = "certificate"
        details = SPEAKS_NO_TLS if NO_TLS in details else details
    elif code is Code.UNAVAILABLE and CLOSED.search(details):
        cause = "closed"
    is_retryable = code in RETRYABLE or (code is Code.RESOURCE_EXHAUSTED and asked_s is not None)
    return Outcome(cause, shortened(details), is_retryable=is_retryable, retry_after_s=asked_s)


def _retry_info_s(error: Any) -> float | None:
    """Read when a receiver wants to be asked again: a RetryInfo in the details of its status."""
    from google.protobuf.message import DecodeError
    from google.rpc.error_details_pb2 import RetryInfo
    from google.rpc.status_pb2 import Status

    for name, value in error.trailing_metadata() or ():
        if name != "grpc-status-details-bin":
            continue
        try:
            for detail in Status.FromString(value).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return max(0.0, float(info.retry_delay.ToNanoseconds()) / 1e9)
        except DecodeError:
            return None
    return None
