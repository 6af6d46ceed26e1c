"""Section ``[otlp]``: where metrics and logs are sent to by OpenTelemetry's protocol."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, cast

from sonde.agent.config.address import Endpoint
from sonde.agent.config.key import Path, key
from sonde.agent.config.kind import Boolean, Choice, Duration, Pairs, Text

if TYPE_CHECKING:
    from sonde.exporters.otlp.settings import OtlpSettings

PATH = Text("a path", is_empty_valid=False)
PROTOCOL = Choice(("http/protobuf", "grpc"), noun="protocol")
COMPRESSION = Choice(("gzip", "none"), noun="compression")
TEMPORALITY = Choice(("cumulative", "delta"), noun="temporality")
TIMEOUT = Duration(least="10ms", most="10m")
HEADERS = Pairs("headers", is_folded=True)

SIGNALS = ("metrics", "logs")
AS_ALL = "As the same key of [otlp], for this signal only."


@dataclass(frozen=True, slots=True)
class SignalConfig:
    """What differs for one signal; None, and for headers nothing, where it is as for all."""

    enabled: bool = key(Boolean(), True, "Whether this signal is sent.")
    endpoint: str | None = key(
        Endpoint(),
        None,
        "For this signal only; with HTTP the whole URL.",
        example='"http://localhost:4318/v1/SIGNAL"',
    )
    protocol: str | None = key(PROTOCOL, None, AS_ALL, example='"grpc"')
    headers: Mapping[str, str] = key(
        HEADERS, {}, "Beside those of [otlp], for this signal only.", example='{ tenant = "me" }', secret=True
    )
    compression: str | None = key(COMPRESSION, None, AS_ALL, example='"gzip"')
    timeout_s: float | None = key(TIMEOUT, None, AS_ALL, name="timeout", example='"10s"')
    certificate: str | None = key(PATH, None, AS_ALL, example='"/etc/sonde/ca.crt"')
    client_certificate: str | None = key(PATH, None, AS_ALL, example='"/etc/sonde/client.crt"')
    client_key: str | None = key(PATH, None, AS_ALL, example='"/etc/sonde/client.key"')
    insecure: bool | None = key(Boolean(), None, AS_ALL, example="false")


@dataclass(frozen=True, slots=True)
class Delivery:
    """How one signal is sent: what [otlp] says, and its own section differently.

    ``is_whole_url`` where the endpoint is the signal's own: then an HTTP request goes to just that address, and else
    to the path of the signal below it.
    """

    endpoint: str
    protocol: str
    compression: str
    timeout_s: float
    certificate: str | None
    client_certificate: str | None
    client_key: str | None
    insecure: bool
    is_whole_url: bool
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class OtlpConfig:
    """Where to, and how; without an ``endpoint`` nothing is sent."""

    endpoint: str = key(
        Endpoint(),
        "",
        "The receiver. With HTTP /v1/metrics and /v1/logs are added. Unset: nothing is sent.",
        example='"http://localhost:4318"',
    )
    protocol: str = key(PROTOCOL, "http/protobuf", "How it is sent: http/protobuf or grpc.")
    headers: Mapping[str, str] = key(
        HEADERS, {}, "Sent with each request.", example='{ authorization = "Bearer change-me" }', secret=True
    )
    compression: str = key(COMPRESSION, "gzip", "How it is compressed: gzip or none.")
    timeout_s: float = key(TIMEOUT, 10.0, "A request that takes longer has failed.", name="timeout")
    certificate: str | None = key(
        PATH,
        None,
        "Authorities (PEM) that may vouch for the receiver, in the place of the system's.",
        example='"/etc/sonde/ca.crt"',
    )
    client_certificate: str | None = key(
        PATH, None, "The certificate (PEM) that sonde shows the receiver.", example='"/etc/sonde/client.crt"'
    )
    client_key: str | None = key(PATH, None, "Its key.", example='"/etc/sonde/client.key"')
    insecure: bool = key(Boolean(), False, "For gRPC to host:port, without http:// or https://: no TLS.")
    temporality: str = key(
        TEMPORALITY, "cumulative", "Totals since the start (cumulative), or since the last request (delta)."
    )
    interval_s: float | None = key(
        Duration(least="100ms", most="1d"),
        None,
        "How often metrics are sent, also more often than all else. Unset: each time that they are read.",
        name="interval",
        example='"30s"',
    )
    metrics: SignalConfig = field(default_factory=SignalConfig)
    logs: SignalConfig = field(default_factory=SignalConfig)

    @property
    def is_enabled(self) -> bool:
        """Tell whether anything is sent."""
        return any(self.delivery(signal) is not None for signal in SIGNALS)

    def delivery(self, signal: Literal["metrics", "logs"] | str) -> Delivery | None:
        """Tell how a signal is sent; None where it is not."""
        own: SignalConfig = getattr(self, signal)
        endpoint = own.endpoint or self.endpoint
        if not own.enabled or not endpoint:
            return None
        chosen: dict[str, Any] = {}
        for each in fields(Delivery):
            if each.name not in ("headers", "endpoint", "is_whole_url"):
                special = getattr(own, each.name)
                chosen[each.name] = getattr(self, each.name) if special is None else special
        return Delivery(
            endpoint=endpoint,
            is_whole_url=bool(own.endpoint),
            headers={**self.headers, **own.headers},
            **chosen,
        )

    def settings(self) -> OtlpSettings:
        """Give the exporter's settings; its package imports what speaks the protocol."""
        from sonde.exporters.otlp.settings import OtlpDelivery, OtlpSettings

        found: dict[str, Any] = {
            signal: OtlpDelivery(**{each.name: getattr(delivery, each.name) for each in fields(Delivery)})
            for signal in SIGNALS
            if (delivery := self.delivery(signal)) is not None
        }
        return OtlpSettings(temporality=cast(Any, self.temporality), **found)

    def problems(self) -> Iterator[tuple[Path, str]]:
        """Find what cannot be: the key, and the reason."""
        for signal in SIGNALS:
            delivery = self.delivery(signal)
            if delivery is None:
                continue
            own = getattr(self, signal)
            path: Path = ("otlp", signal) if own.endpoint else ("otlp",)
            if delivery.protocol != "grpc" and "://" not in delivery.endpoint:
                yield (
                    (*path, "endpoint"),
                    f"{delivery.endpoint!r} is no URL: write http:// or https:// before it",
                )
            if (delivery.client_certificate is None) != (delivery.client_key is None):
                there, lacking = "client_key", "client_certificate"
                if delivery.client_key is None:
                    there, lacking = lacking, there
                yield ("otlp", there), f"it needs otlp.{lacking}, too"

    def warnings(self) -> Iterator[str]:
        """Say what is likely a mistake, and cannot be known to be one: the other protocol's port, a path twice or not at all."""
        for signal in SIGNALS:
            delivery = self.delivery(signal)
            if delivery is not None:
                yield from _other_port(signal, delivery)
                if delivery.protocol != "grpc":
                    yield from _doubtful_path(signal, delivery)


def _other_port(signal: str, delivery: Delivery) -> Iterator[str]:
    from urllib.parse import urlsplit

    ports = {"http/protobuf": 4318, "grpc": 4317}
    other = next(protocol for protocol in ports if protocol != delivery.protocol)
    endpoint = delivery.endpoint
    if urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").port == ports[other]:
        yield (
            f"otlp: {signal} go to {endpoint} by {delivery.protocol}, and that port is mostly for {other}: "
            f'perhaps otlp.protocol = "{other}"'
        )


def _doubtful_path(signal: str, delivery: Delivery) -> Iterator[str]:
    from urllib.parse import urlsplit

    path = urlsplit(delivery.endpoint).path.rstrip("/")
    if delivery.is_whole_url and not path:
        yield (
            f"otlp.{signal}.endpoint: nothing is added to {delivery.endpoint}: "
            f"most receivers take {signal} at /v1/{signal}"
        )
    elif not delivery.is_whole_url and path.endswith(f"/v1/{signal}"):
        yield f"otlp.endpoint: /v1/{signal} is added to {delivery.endpoint}: perhaps without it"
