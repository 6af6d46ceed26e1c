"""Random rules and random packets, and the bytes of a packet: for tests of the filter against its plain meaning."""

from __future__ import annotations

import random
import struct
from ipaddress import IPv4Address, IPv6Address, ip_network

from sonde.filter.expression import (
    ANY_VLAN,
    And,
    Direction,
    Expression,
    Flag,
    Fragment,
    Network,
    Networks,
    Not,
    Or,
    Ports,
    Protocols,
    Version,
    Vlan,
)
from sonde.filter.packet import TCP_FLAGS, Address, Packet
from sonde.filter.rule import Rule, RuleSet

TCP, UDP, ICMP, ICMP6, SCTP, GRE = 6, 17, 1, 58, 132, 47
HAS_PORTS = (TCP, UDP, SCTP)
IPV4, IPV6, VLAN, IPV6_FRAGMENT = 0x0800, 0x86DD, 0x8100, 44
PORTS = (0, 1, 22, 53, 80, 443, 1023, 1024, 8080, 32768, 65534, 65535)
VLANS = (0, 1, 7, 100, 4094, 4095)


def frame_of(packet: Packet, *, payload: bytes = b"sonde") -> bytes:
    """Write a packet as a frame."""
    body = _transport(packet, payload)
    if packet.version == 4:
        # More fragments: this is the first one, which has its ports; a later one has an offset.
        flags = 0
        if packet.is_fragment:
            flags = 0x2000 if _has_transport(packet) else 0x2000 | 185
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, flags, 64, packet.protocol, 0)
        network, ethertype = head + packet.source.packed + packet.destination.packed + body, IPV4
    else:
        protocol = packet.protocol
        if packet.is_fragment:
            offset = 0x0001 if _has_transport(packet) else 185 << 3 | 1
            body = struct.pack("!BBHI", protocol, 0, offset, 1) + body
            protocol = IPV6_FRAGMENT
        head = struct.pack("!IHBB", 6 << 28, len(body), protocol, 64)
        network, ethertype = head + packet.source.packed + packet.destination.packed + body, IPV6
    tag = b"" if packet.vlan is None else struct.pack("!HH", VLAN, packet.vlan)
    return bytes(12) + tag + struct.pack("!H", ethertype) + network


def _has_transport(packet: Packet) -> bool:
    return packet.protocol not in HAS_PORTS or packet.source_port is not None


def _transport(packet: Packet, payload: bytes) -> bytes:
    if packet.source_port is None or packet.destination_port is None:
        return payload + bytes(20)
    ports = struct.pack("!HH", packet.source_port, packet.destination_port)
    if packet.protocol == TCP:
        return ports + struct.pack("!IIBBHHH", 1, 2, 0x50, packet.flags or 0, 1024, 0, 0) + payload
    return ports + struct.pack("!HH", 8 + len(payload), 0) + payload


class Maker:
    """Makes rules and packets by chance, from few values, so that they meet often."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def address(self, version: int) -> Address:
        chosen = self.random
        if version == 4:
            return IPv4Address(
                bytes([10, chosen.choice((0, 1, 2)), chosen.choice((0, 127, 128, 255)), chosen.randrange(4)])
            )
        parts = [0x2001, 0xDB8, chosen.choice((0, 1, 0x8000)), 0, 0, 0, 0, chosen.randrange(4)]
        return IPv6Address(struct.pack("!8H", *parts))

    def network(self) -> Network:
        version = self.random.choice((4, 4, 6))
        bits = self.random.choice(
            (0, 1, 8, 9, 15, 16, 17, 24, 30, 31, 32) if version == 4 else (0, 3, 32, 33, 48, 64, 127, 128)
        )
        return ip_network((self.address(version).packed, bits), strict=False)

    def packet(self) -> Packet:
        chosen = self.random
        version = chosen.choice((4, 4, 6))
        protocol = chosen.choice((TCP, TCP, UDP, SCTP, GRE, ICMP if version == 4 else ICMP6, 200))
        is_fragment = chosen.random() < 0.15
        has_ports = protocol in HAS_PORTS and not (is_fragment and chosen.random() < 0.5)
        return Packet(
            self.address(version),
            self.address(version),
            protocol,
            chosen.choice(PORTS) if has_ports else None,
            chosen.choice(PORTS) if has_ports else None,
            chosen.randrange(256) if protocol == TCP and has_ports else None,
            chosen.choice(VLANS) if chosen.random() < 0.3 else None,
            is_fragment,
        )

    def _ranges(self, values: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
        found = []
        for _ in range(self.random.choice((1, 1, 2, 3))):
            one, other = self.random.choice(values), self.random.choice(values)
            found.append((min(one, other), max(one, other)) if self.random.random() < 0.3 else (one, one))
        return tuple(found)

    def atom(self) -> Expression:
        chosen = self.random
        direction: Direction = chosen.choice(("src", "dst"))
        kind = chosen.randrange(10)
        if kind < 4:
            return Networks(direction, tuple(self.network() for _ in range(chosen.choice((1, 1, 2, 5)))))
        if kind < 6:
            return Ports(direction, self._ranges(PORTS))
        if kind == 6:
            return Protocols(
                tuple(chosen.sample((TCP, UDP, SCTP, GRE, ICMP, ICMP6, 200), chosen.choice((1, 1, 2))))
            )
        if kind == 7:
            return Flag(chosen.choice(tuple(TCP_FLAGS)))
        if kind == 8:
            return Vlan((ANY_VLAN,) if chosen.random() < 0.3 else self._ranges(VLANS))
        return chosen.choice((Version(4), Version(6), Fragment()))

    def expression(self, depth: int = 3) -> Expression:
        kind = self.random.randrange(8) if depth else 0
        if kind < 3:
            return self.atom()
        if kind < 4:
            return Not(self.expression(depth - 1))
        operands = tuple(self.expression(depth - 1) for _ in range(self.random.choice((2, 2, 3))))
        return And(operands) if kind < 7 else Or(operands)

    def rules(self) -> RuleSet:
        """A set of rules; some have runs that differ in their networks alone."""
        found: list[Rule] = []
        for _ in range(self.random.choice((1, 2, 3, 5, 8, 30))):
            action = self.random.choice(("allow", "drop"))
            if self.random.random() < 0.2:
                rest, direction = self.expression(1), self.random.choice(("src", "dst"))
                found += [
                    Rule(
                        self.random.choice(("allow", "drop")),
                        And((Networks(direction, (self.network(),)), rest)),
                    )
                    for _ in range(self.random.choice((2, 5, 20)))
                ]
            else:
                found.append(Rule(action, self.expression()))
        return RuleSet(tuple(found))
