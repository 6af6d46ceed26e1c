"""What an OTLP exporter is told: where to, how, and how much may wait."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args
from urllib.parse import SplitResult, urlsplit

from sonde.errors import ConfigError

Protocol = Literal["http/protobuf", "grpc"]
Compression = Literal["gzip", "none"]
Temporality = Literal["cumulative", "delta"]

GRPC_PORT = 4317
"""The port that OpenTelemetry's receivers listen on for gRPC, where an endpoint names none."""

REQUEST_BYTES_MAX = 4_000_000
"""Below the 4 MiB that gRPC receivers take by default."""


@dataclass(frozen=True, slots=True)
class OtlpDelivery:
    """How one signal, metrics or logs, is sent; each field is the ``OTEL_EXPORTER_OTLP_…`` variable of its name.

    ``endpoint`` is a URL. With HTTP ``/v1/metrics`` or ``/v1/logs`` is added, unless it ``is_whole_url``: the signal's
    own endpoint is taken as it is. gRPC takes ``host:port`` too, in plain text if ``insecure``; otherwise the scheme
    says it. ``certificate`` (whom to trust; by default the system's authorities), ``client_certificate`` and
    ``client_key`` are PEM files, read again when they change. ``timeout_s`` bounds an attempt from connect to answer.
    Raises ConfigError for what cannot be.
    """

    endpoint: str
    protocol: Protocol = "http/protobuf"
    is_whole_url: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)  # they hold secrets
    compression: Compression = "gzip"
    timeout_s: float = 10.0
    certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = None
    insecure: bool = False

    def __post_init__(self) -> None:
        _check_choice("protocol", self.protocol, get_args(Protocol))
        _check_choice("compression", self.compression, get_args(Compression))
        _check_positive(self, "timeout_s")
        if bool(self.client_certificate) != bool(self.client_key):
            hint = "give both client_certificate and client_key, or neither"
            raise ConfigError("otlp", key="client_key", reason="a certificate needs its key", hint=hint)
        for name, value in self.headers.items():
            if not _is_header(name, value):
                # The value may be a secret, and stays out of the message.
                raise ConfigError("otlp", key="headers", reason=f"{name!r} cannot be sent as a header")
        self.target("metrics")

    def target(self, signal: str) -> Target:
        """Say where the requests of a signal go: ``metrics`` or ``logs``."""
        text = self.endpoint
        if "://" not in text and self.protocol == "grpc":
            # gRPC's own way to name a target; OTLP's variables mean a URL.
            text = f"{'http' if self.insecure else 'https'}://{text}"
        parts = _parts(text)
        is_tls = parts.scheme == "https"
        path = parts.path
        if not self.is_whole_url:
            path = f"{path.rstrip('/')}/v1/{signal}"
        default = GRPC_PORT if self.protocol == "grpc" else 443 if is_tls else 80
        query = f"?{parts.query}" if parts.query else ""
        assert parts.hostname is not None
        return Target(is_tls, parts.hostname, parts.port or default, (path or "/") + query)


@dataclass(frozen=True, slots=True)
class OtlpSettings:
    """Settings of an OTLP exporter: a delivery for each signal that is sent, and how much may wait.

    ``request_size_max_bytes`` is before compression. One snapshot of the metrics waits, and so many records of so
    many bytes. Between attempts it waits ``backoff_initial_s``, then twice as long each time, up to ``backoff_max_s``,
    less a random part of up to a half; what a receiver asks for (``Retry-After``, RetryInfo) goes before that, up to
    ``retry_after_max_s``. Of series that ended while nothing could be delivered, ``ended_max`` are kept for it.
    Raises ConfigError for what cannot be.
    """

    metrics: OtlpDelivery | None = None
    logs: OtlpDelivery | None = None
    temporality: Temporality = "cumulative"
    request_size_max_bytes: int = REQUEST_BYTES_MAX
    queue_records_max: int = 50_000
    queue_bytes_max: int = 16_000_000
    backoff_initial_s: float = 1.0
    backoff_max_s: float = 30.0
    retry_after_max_s: float = 300.0
    ended_max: int = 10_000

    def __post_init__(self) -> None:
        _check_choice("temporality", self.temporality, get_args(Temporality))
        _check_positive(self, "backoff_initial_s", "backoff_max_s", "retry_after_max_s")
        for name, least in (
            ("request_size_max_bytes", 1_000),
            ("queue_records_max", 1),
            ("queue_bytes_max", 1_000),
            ("ended_max", 0),
        ):
            if getattr(self, name) < least:
                raise ConfigError("otlp", key=name, reason=f"it is {getattr(self, name)}, below {least}")


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go; the path is HTTP's only."""

    is_tls: bool
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """Give host and port as URLs and gRPC write them."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _parts(text: str) -> SplitResult:
    hint = "write it as http://localhost:4318"
    try:
        parts = urlsplit(text)
        parts.port  # noqa: B018  # reading it checks it
    except ValueError as error:
        raise ConfigError("otlp", key="endpoint", reason=f"{text!r} is no URL: {error}", hint=hint) from error
    if parts.scheme not in ("http", "https"):
        raise ConfigError("otlp", key="endpoint", reason=f"{text!r} is neither http nor https", hint=hint)
    if not parts.hostname or any(each.isspace() or not each.isprintable() for each in text):
        raise ConfigError("otlp", key="endpoint", reason=f"{text!r} names no host", hint=hint)
    if parts.username is not None or parts.password is not None:
        hint = "put it into headers: authorization = Basic …"
        raise ConfigError(
            "otlp", key="endpoint", reason="a URL with a password shows up in messages", hint=hint
        )
    return parts


def _check_positive(settings: Any, *names: str) -> None:
    for name in names:
        if not 0 < getattr(settings, name) < math.inf:
            raise ConfigError("otlp", key=name, reason=f"it is {getattr(settings, name)}, not above 0")


def _check_choice(key: str, value: str, valid: tuple[str, ...]) -> None:
    if value not in valid:
        raise ConfigError("otlp", key=key, reason=f"{value!r} is none of {', '.join(valid)}")


def _is_header(name: str, value: str) -> bool:
    token = name.replace("-", "").replace("_", "").replace(".", "")
    return token.isascii() and token.isalnum() and value.isascii() and value.isprintable()
