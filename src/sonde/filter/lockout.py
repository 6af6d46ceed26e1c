"""Rules that would cut the connection one is logged in on: found before they are put in force."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address

from sonde.filter.connection import Connection
from sonde.filter.expression import And, Expression, Not, Or, Vlan
from sonde.filter.packet import TCP_FLAGS, Packet
from sonde.filter.route import above, interfaces_of, way_to
from sonde.filter.rule import Rule, RuleSet

TCP, ICMP6 = 6, 58
ROUTER = IPv6Address("fe80::1")
"""Stands for whoever asks for our address on the link, and answers when we ask: neighbour discovery, RFC 4861."""
FLAGS = (TCP_FLAGS["ack"], TCP_FLAGS["ack"] | TCP_FLAGS["psh"])
"""What the segments of a connection have that goes on: a bare acknowledgement, and what somebody types."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A rule that drops a connection's packets; ``number`` counts from 1."""

    connection: Connection
    number: int
    rule: Rule
    packet: Packet

    @property
    def remedy(self) -> str:
        """Give the condition that an allowing rule before it has to have."""
        return "icmp6" if self.packet.protocol == ICMP6 else f"src {self.connection.peer}"

    def __str__(self) -> str:
        how = (
            ", for it drops the ICMPv6 by which neighbours find each other"
            if self.packet.protocol == ICMP6
            else ""
        )
        return (
            f"rule {self.number} ({self.rule}) would cut the connection that you are logged in on, "
            f"{self.connection}{how}"
        )


def first_cut(rules: RuleSet, interface: str, connections: Sequence[Connection]) -> Cut | None:
    """Find the first connection that comes in by an interface and would be cut there, and the rule that does it."""
    for connection in connections:
        tags = tags_of(connection, interface, rules)
        for packet in _packets(connection, tags):
            position = rules.first_match(packet)
            if position is not None and rules.rules[position].action == "drop":
                return Cut(connection, position + 1, rules.rules[position], packet)
    return None


def tags_of(connection: Connection, interface: str, rules: RuleSet) -> Iterable[int | None]:
    """Give the VLANs that a connection's packets may have at an interface; nothing where they do not come by it.

    They do where the interface, or one that is fed by it, has the address, or is the way back; and where neither is known.
    """
    places = interfaces_of(connection.local)
    if not places:
        # Of another network namespace, or an older connection that SSH_CONNECTION still tells of.
        return ()
    if interface in places:
        return (None,)
    fed = above(interface)
    way = way_to(connection.peer)
    if fed is not None and way is not None and not (places | {way}) & (fed | {interface}):
        return ()
    return (None, *sorted(set(_vlans(rules))))


def _packets(connection: Connection, tags: Iterable[int | None]) -> Iterator[Packet]:
    for tag in tags:
        for flags in FLAGS:
            yield Packet(
                connection.peer,
                connection.local,
                TCP,
                connection.peer_port,
                connection.local_port,
                flags,
                tag,
            )
        if connection.local.version == 6:
            yield Packet(ROUTER, connection.local, ICMP6, vlan=tag)


def _vlans(rules: RuleSet) -> Iterator[int]:
    """Give the VLANs that rules tell apart: one of each range, and one beside it."""
    left: list[Expression] = [rule.condition for rule in rules.rules]
    while left:
        expression = left.pop()
        if isinstance(expression, Vlan):
            for first, last in expression.ranges:
                yield from (number for number in (first, last + 1) if number < 4096)
        elif isinstance(expression, Not):
            left.append(expression.operand)
        elif isinstance(expression, (And, Or)):
            left.extend(expression.operands)
