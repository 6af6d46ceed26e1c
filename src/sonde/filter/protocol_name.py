"""The names of IP's protocols in rules, as tcpdump and iptables spell them."""

from __future__ import annotations

NUMBERS = {
    "icmp": 1,
    "igmp": 2,
    "ipip": 4,
    "tcp": 6,
    "udp": 17,
    "dccp": 33,
    "ipv6": 41,
    "gre": 47,
    "esp": 50,
    "ah": 51,
    "icmp6": 58,
    "ospf": 89,
    "pim": 103,
    "vrrp": 112,
    "l2tp": 115,
    "sctp": 132,
    "udplite": 136,
}
"""Those that people filter by; every other one is written as its number: ``proto 88``."""

ALIASES = {"icmpv6": "icmp6", "ipv6-icmp": "icmp6", "ipencap": "ipip"}

_NAMES = {number: name for name, number in NUMBERS.items()}


def protocol_name(number: int) -> str:
    """Give the name that rules know, or the number."""
    return _NAMES.get(number, str(number))


def protocol_number(word: str) -> int | None:
    """Give the number of a name; None where it is none."""
    return NUMBERS.get(ALIASES.get(word, word))
