"""Addresses: where an endpoint listens, and where a receiver is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from sonde.agent.config.kind import OFF, Kind, quoted
from sonde.exporters.host import is_loopback, octets_of

PORT_MAX = 65535


class Address(NamedTuple):
    """A host and a port."""

    host: str
    port: int

    @property
    def is_loopback(self) -> bool:
        """Tell whether only this machine reaches it."""
        return is_loopback(self.host)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Listen(Kind):
    """An address to listen on, or ``"off"``, which is None."""

    @property
    def valid(self) -> str:
        """Say what is right."""
        return 'an address as "127.0.0.1:9464" or "[::1]:9464", or "off"'

    def read(self, value: object) -> Address | None:
        """Take host and port; IPv6 in brackets. Port 0 is any that is free."""
        if value == OFF:
            return None
        if not isinstance(value, str):
            raise self.refuse(value)
        host, _, port = value.strip().rpartition(":")
        is_bracketed = host.startswith("[") and host.endswith("]")
        host = host[1:-1] if is_bracketed else host
        if not _is_host(host, is_six=is_bracketed) or not (port.isascii() and port.isdigit()):
            raise self.refuse(value)
        if int(port[:6]) > PORT_MAX:
            raise ValueError(f"port {port[:10]} cannot be: give one from 0 to {PORT_MAX}")
        return Address(host, int(port))

    def write(self, value: Address | None) -> str:
        """Write it."""
        return quoted(OFF if value is None else value)


@dataclass(frozen=True, slots=True)
class Endpoint(Kind):
    """A receiver: a URL, or ``host:port`` for gRPC; empty where there is none."""

    @property
    def valid(self) -> str:
        """Say what is right."""
        return "a URL, as http://localhost:4318"

    def read(self, value: object) -> str:
        """Take http and https; a password in it would be shown, so it is refused."""
        from urllib.parse import urlsplit

        if not isinstance(value, str) or not value.isprintable() or " " in value:
            raise self.refuse(value)
        if not value:
            return ""
        try:
            parts = urlsplit(value if "://" in value else f"//{value}")
            is_right = parts.scheme in ("", "http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            is_right = False
        if not is_right or (not parts.scheme and parts.port is None):
            raise self.refuse(value)
        if parts.username is not None or parts.password is not None:
            raise ValueError("it holds a name or a password: give them as a header, headers.authorization")
        return value


def _is_host(host: str, *, is_six: bool) -> bool:
    octets = octets_of(host)
    if octets is not None:
        return (len(octets) == 16) == is_six
    return not is_six and bool(host) and all(part.replace("-", "").isalnum() for part in host.split("."))
