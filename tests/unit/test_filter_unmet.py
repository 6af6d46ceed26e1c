"""Rules that hold for no packet: found where it is certain, and never where there is a packet."""

from __future__ import annotations

import pytest

from filtering import Maker
from sonde.filter.parser import parse
from sonde.filter.rule import Rule, RuleSet
from sonde.filter.unmet import can_hold, unmet


@pytest.mark.parametrize(
    "text",
    [
        "tcp and udp",
        "tcp and not tcp",
        "proto tcp,udp and icmp",
        "icmp and dst port 5",
        "udp and syn",
        "ip and ip6",
        "not ip and not ip6",
        "ip src 2001:db8::1",
        "src 10.0.0.1 and dst 2001:db8::1",
        "src 10.0.0.0/8 and src 192.0.2.7",
        "dst port 22 and dst port 80-90",
        "vlan 7 and vlan 8-9",
        "(tcp or udp) and (icmp or gre)",
    ],
)
def test_what_no_packet_has(text: str) -> None:
    assert not can_hold(parse(text))


@pytest.mark.parametrize(
    "text",
    [
        "tcp or udp",
        "not tcp and not port 53",
        "src 10.0.0.0/8 and dst 192.0.2.7",
        "src 10.0.0.0/8 and src 10.1.0.0/16",
        "src 10.0.0.1,2001:db8::1 and ip6",
        "src port 22 and dst port 80",
        "dst port 22-90 and dst port 80",
        "vlan and vlan 7",
        "fragment and port 53",
        "not ip",
        "host 10.0.0.1 and host 10.0.0.2",
        "icmp or dst port 5",
    ],
)
def test_what_some_packet_has(text: str) -> None:
    assert can_hold(parse(text))


def test_rules_by_chance_that_hold_for_a_packet_can_hold() -> None:
    """1,009 sets and ten packets each: none that holds is said to hold for none."""
    maker = Maker(10007)
    held = 0
    for _ in range(1009):
        rules = maker.rules()
        for _ in range(10):
            packet = maker.packet()
            for rule in rules.rules:
                if rule.condition.holds(packet):
                    held += 1
                    assert can_hold(rule.condition), str(rule)
    assert held > 1000


def test_their_numbers_count_from_one() -> None:
    rules = RuleSet(tuple(Rule("drop", parse(text)) for text in ("tcp", "tcp and udp", "udp", "ip and ip6")))
    assert [2, 4] == [number for number, _ in unmet(rules)]
