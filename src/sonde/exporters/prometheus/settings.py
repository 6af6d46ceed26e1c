"""What the endpoint is told: where it listens, who may ask, and its limits."""

from __future__ import annotations

from dataclasses import dataclass, field

from sonde.errors import ConfigError
from sonde.exporters.host import is_loopback

PORT = 9464
"""OpenTelemetry's default for Prometheus endpoints."""

PORT_MAX = 65535
SECTION = "prometheus"


@dataclass(frozen=True, slots=True)
class PrometheusSettings:
    """Everything that can be set; the limits are there so that no client can cost more than they say.

    ``port`` 0 takes any that is free. A certificate and its key make the endpoint speak TLS only;
    ``tls_client_ca`` lets in only clients with a certificate of that authority. Requests need ``token`` (or the one
    in ``token_file``) as a bearer's; the two health pages answer without it, but in one word.
    """

    host: str = "127.0.0.1"
    port: int = PORT
    allow_remote: bool = False
    tls_certificate: str | None = None
    tls_key: str | None = None
    tls_client_ca: str | None = None
    token: str | None = field(default=None, repr=False)
    token_file: str | None = None

    classic_buckets: int = 26
    """At most so many bounds of a classic histogram, powers of two; native histograms have all of the kernel's."""

    connections_max: int = 16
    """Connections at a time; one more, and the one that has been idle for longest is closed."""

    requests_per_s: float = 50.0
    """Requests and new connections beyond this wait."""

    header_bytes_max: int = 16 * 1024
    headers_max: int = 64
    header_timeout_s: float = 10.0
    """For the TLS handshake, and for a whole request to arrive from its first byte on."""

    idle_timeout_s: float = 150.0
    """Between requests: longer than the usual scrape interval of a minute."""

    send_timeout_s: float = 30.0
    """For a client to take the whole answer."""

    scrape_timeout_s: float = 10.0
    """For a fresh measurement and its page: Prometheus's default, and less where a scrape's header says so."""

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine can reach it; a name that is not ``localhost`` may mean any address."""
        return is_loopback(self.host)

    @property
    def address(self) -> str:
        """Give host and port as they stand in a URL."""
        return spelled(self.host, self.port)

    def check(self) -> None:
        """Refuse what cannot be or must not be; raises ConfigError with the key and the reason."""
        if not 0 <= self.port <= PORT_MAX:
            raise ConfigError(
                SECTION, key="listen", reason=f"port {self.port} cannot be", hint=f"0 to {PORT_MAX}"
            )
        if bool(self.tls_certificate) != bool(self.tls_key):
            given, lacking = ("tls_certificate", "tls_key")[:: 1 if self.tls_certificate else -1]
            raise ConfigError(SECTION, key=given, reason=f"it needs {lacking}, too")
        if self.tls_client_ca and not self.tls_certificate:
            raise ConfigError(
                SECTION, key="tls_client_ca", reason="it needs tls_certificate and tls_key, too"
            )
        if self.token is not None and self.token_file is not None:
            raise ConfigError(SECTION, key="token_file", reason="token is given, too", hint="leave one out")
        if self.token is not None:
            check_token(self.token, key="token")
        is_guarded = self.tls_certificate or self.token is not None or self.token_file
        if not (self.is_loopback or is_guarded or self.allow_remote):
            raise ConfigError(
                SECTION,
                key="listen",
                reason=f"{self.address} can be reached from other machines",
                hint="set tls_certificate and tls_key, a token or token_file, or allow_remote = true",
            )


def spelled(host: str, port: int) -> str:
    """Write an address as in a URL: IPv6 in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def check_token(token: str, *, key: str) -> None:
    """Refuse a token that no request could carry; raises ConfigError."""
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(
            SECTION,
            key=key,
            reason="a token is one word of visible ASCII characters",
            hint="make another one",
        )
