"""What the rules look at in a packet."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

TCP_FLAGS = {
    "fin": 0x01,
    "syn": 0x02,
    "rst": 0x04,
    "psh": 0x08,
    "ack": 0x10,
    "urg": 0x20,
    "ece": 0x40,
    "cwr": 0x80,
}


@dataclass(frozen=True, slots=True)
class Packet:
    """An IP packet's fields; None where it has none: ports in ICMP and in later fragments, flags outside of TCP.

    ``vlan`` is the outermost tag's identifier.
    """

    source: Address
    destination: Address
    protocol: int
    source_port: int | None = None
    destination_port: int | None = None
    flags: int | None = None
    vlan: int | None = None
    is_fragment: bool = False

    @property
    def version(self) -> int:
        """Give the version of IP."""
        return self.source.version
