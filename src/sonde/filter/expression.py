"""Conditions as trees: what a rule asks of a packet, said once, matched here and compiled elsewhere.

``holds`` is the meaning of the language: one packet, one answer, no tables. The compiled form is tested against it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network
from typing import Literal

from sonde.filter.packet import TCP_FLAGS, Packet
from sonde.filter.protocol_name import protocol_name

Network = IPv4Network | IPv6Network
Direction = Literal["src", "dst"]
SHOWN_MAX = 3
"""So many networks, ports, … of a list are written out when a condition is shown to a person."""


@dataclass(frozen=True, slots=True)
class Networks:
    """The address lies in one of the networks."""

    direction: Direction
    networks: tuple[Network, ...]
    _hash: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        # Once, for a list may be long, and rules are kept in dictionaries.
        pairs = tuple((int(each.network_address), each.prefixlen) for each in self.networks)
        object.__setattr__(self, "_hash", hash((self.direction, pairs)))

    def __hash__(self) -> int:
        return self._hash

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        address = packet.source if self.direction == "src" else packet.destination
        return any(address in network for network in self.networks)

    def __str__(self) -> str:
        return f"{self.direction} {_several([_network(each) for each in self.networks])}"


@dataclass(frozen=True, slots=True)
class Ports:
    """The port lies in one of the ranges, both ends included; false for packets without ports."""

    direction: Direction
    ranges: tuple[tuple[int, int], ...]

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        port = packet.source_port if self.direction == "src" else packet.destination_port
        return port is not None and _within(port, self.ranges)

    def __str__(self) -> str:
        return f"{self.direction} port {_several([_range(each) for each in self.ranges])}"


@dataclass(frozen=True, slots=True)
class Protocols:
    """The protocol above IP (and behind IPv6's extension headers) is one of these numbers."""

    numbers: tuple[int, ...]

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        return packet.protocol in self.numbers

    def __str__(self) -> str:
        names = [protocol_name(number) for number in self.numbers]
        # A number that has no name is written with the word that makes it a protocol.
        prefix = "" if len(names) == 1 and not names[0].isdigit() else "proto "
        return prefix + _several(names)


@dataclass(frozen=True, slots=True)
class Version:
    """The version of IP."""

    version: int

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        return packet.version == self.version

    def __str__(self) -> str:
        return "ip" if self.version == 4 else "ip6"


@dataclass(frozen=True, slots=True)
class Fragment:
    """The packet is a fragment, the first or a later one."""

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        return packet.is_fragment

    def __str__(self) -> str:
        return "fragment"


@dataclass(frozen=True, slots=True)
class Flag:
    """A TCP flag is set; false for what is no TCP."""

    name: str

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        return packet.flags is not None and bool(packet.flags & TCP_FLAGS[self.name])

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True, slots=True)
class Vlan:
    """The packet has a VLAN tag, the outermost of which lies in one of the ranges."""

    ranges: tuple[tuple[int, int], ...]

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        return packet.vlan is not None and _within(packet.vlan, self.ranges)

    def __str__(self) -> str:
        return "vlan" if self.ranges == (ANY_VLAN,) else f"vlan {_several([_range(r) for r in self.ranges])}"


ANY_VLAN = (0, 4095)
Atom = Networks | Ports | Protocols | Version | Fragment | Flag | Vlan


@dataclass(frozen=True, slots=True)
class Not:
    """What does not hold."""

    operand: Expression

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        return not self.operand.holds(packet)

    def __str__(self) -> str:
        return f"not {_grouped(self.operand)}"


@dataclass(frozen=True, slots=True)
class And:
    """All hold; of none that is everything."""

    operands: tuple[Expression, ...]

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        return all(operand.holds(packet) for operand in self.operands)

    def __str__(self) -> str:
        return " and ".join(_grouped(operand) for operand in self.operands) or "everything"


@dataclass(frozen=True, slots=True)
class Or:
    """One of them holds at least."""

    operands: tuple[Expression, ...]

    def holds(self, packet: Packet) -> bool:
        """Tell whether it is so for a packet."""
        return any(operand.holds(packet) for operand in self.operands)

    def __str__(self) -> str:
        return " or ".join(_grouped(operand) for operand in self.operands)


Expression = Atom | Not | And | Or


def _within(number: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= number <= last for first, last in ranges)


def _grouped(expression: Expression) -> str:
    return f"({expression})" if isinstance(expression, (And, Or)) else str(expression)


def _several(words: list[str]) -> str:
    shown = ",".join(words[:SHOWN_MAX])
    return f"{shown},… ({len(words):,})" if len(words) > SHOWN_MAX else shown


def _range(bounds: tuple[int, int]) -> str:
    first, last = bounds
    return str(first) if first == last else f"{first}-{last}"


def _network(network: Network) -> str:
    return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)
