"""Hosts as they stand in addresses: which are IP addresses, and which only this machine can reach."""

from __future__ import annotations

LOOPBACK_4, LOOPBACK_6 = 127, bytes(15) + b"\1"
"""127.0.0.0/8 and ::1 (RFC 6890)."""


def octets_of(host: str) -> bytes | None:
    """Give an IP address as 4 or 16 bytes; None for what is none, as a name is. A scope (``fe80::1%eth0``) is left out."""
    import socket  # where nobody listens nothing is asked for

    for family, text in ((socket.AF_INET, host), (socket.AF_INET6, host.partition("%")[0])):
        try:
            return socket.inet_pton(family, text)
        except (OSError, ValueError):
            continue
    return None


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach it; a name that is not ``localhost`` may mean any address."""
    octets = octets_of(host)
    if octets is None:
        return host == "localhost"
    return octets[0] == LOOPBACK_4 if len(octets) == 4 else octets == LOOPBACK_6
