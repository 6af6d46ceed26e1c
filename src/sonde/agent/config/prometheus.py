"""Section ``[prometheus]``: the endpoint that a Prometheus server scrapes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sonde.agent.config.address import Address, Listen
from sonde.agent.config.key import Path, key
from sonde.agent.config.kind import Boolean, Duration, Kind, Text

if TYPE_CHECKING:
    from sonde.exporters.prometheus.settings import PrometheusSettings

PATH = Text("a path", is_empty_valid=False)
DEFAULT = Address("127.0.0.1", 9464)


@dataclass(frozen=True, slots=True)
class Token(Kind):
    """A word that a request can carry."""

    @property
    def valid(self) -> str:
        """Say what is right."""
        return "one word of visible ASCII characters"

    def read(self, value: object) -> str:
        """Take it."""
        if (
            not isinstance(value, str)
            or not value
            or not value.isascii()
            or not value.isprintable()
            or " " in value
        ):
            raise self.refuse(value)
        return value


@dataclass(frozen=True, slots=True)
class PrometheusConfig:
    """Where it listens, and who may ask; ``listen`` is None where there is none."""

    listen: Address | None = key(Listen(), DEFAULT, 'Where it listens; "off": nowhere.')  # noqa: RUF009  # key() makes a field
    tls_certificate: str | None = key(
        PATH, None, "A certificate (PEM): then only HTTPS is served.", example='"/etc/sonde/tls.crt"'
    )
    tls_key: str | None = key(PATH, None, "The certificate's key.", example='"/etc/sonde/tls.key"')
    tls_client_ca: str | None = key(
        PATH,
        None,
        "An authority (PEM): only clients with a certificate of it are let in.",
        example='"/etc/sonde/clients.crt"',
    )
    token: str | None = key(
        Token(),
        None,
        "Whoever asks has to send it: Authorization: Bearer TOKEN.",
        example='"change-me"',
        secret=True,
    )
    token_file: str | None = key(
        PATH, None, "A file that holds the token, instead of token.", example='"/etc/sonde/token"'
    )
    allow_remote: bool = key(
        Boolean(), False, "Listen beyond this machine with neither a certificate nor a token."
    )
    linger_s: float = key(
        Duration(least="0s", most="1h"),
        0.0,
        "At the end the last page is served until it was scraped, or for so long.",
        name="linger",
    )

    @property
    def is_enabled(self) -> bool:
        """Tell whether it listens at all."""
        return self.listen is not None

    def settings(self) -> PrometheusSettings:
        """Give the exporter's settings; there has to be an address."""
        from sonde.exporters.prometheus.settings import PrometheusSettings

        assert self.listen is not None, "it is enabled"
        return PrometheusSettings(
            host=self.listen.host,
            port=self.listen.port,
            allow_remote=self.allow_remote,
            tls_certificate=self.tls_certificate,
            tls_key=self.tls_key,
            tls_client_ca=self.tls_client_ca,
            token=self.token,
            token_file=self.token_file,
        )

    def problems(self) -> Iterator[tuple[Path, str]]:
        """Find what cannot be: the key, and the reason."""
        if (self.tls_certificate is None) != (self.tls_key is None):
            lacking = "tls_key" if self.tls_key is None else "tls_certificate"
            there = "tls_certificate" if self.tls_key is None else "tls_key"
            yield ("prometheus", there), f"it needs prometheus.{lacking}, too"
        if self.tls_client_ca is not None and self.tls_certificate is None:
            yield ("prometheus", "tls_client_ca"), "it needs prometheus.tls_certificate and tls_key, too"
        if self.token is not None and self.token_file is not None:
            yield ("prometheus", "token_file"), "prometheus.token is given, too: leave one out"
        is_guarded = self.tls_certificate or self.token or self.token_file or self.allow_remote
        if self.listen is not None and not self.listen.is_loopback and not is_guarded:
            ways = "prometheus.tls_certificate and tls_key, prometheus.token_file, or prometheus.allow_remote = true"
            yield ("prometheus", "listen"), f"{self.listen} is reached from other machines: set {ways}"
