"""Sends a known number of frames of each kind out of an interface, for tests and for trying the probe; prints them as JSON.

    python -m sonde.probes.packets.workload --interface veth0 --frames 1009

Frames of 34 kinds, right and wrong ones, go out as they are (a packet socket, CAP_NET_RAW): give it an interface of a veth
pair in a namespace of your own. Nobody answers addresses of documentation (RFC 5737, RFC 3849).
"""

from __future__ import annotations

import argparse
import json
import socket
import struct
from dataclasses import dataclass

MACS = bytes.fromhex("020000000002") + bytes.fromhex("020000000001")
SOURCE, DESTINATION = (socket.inet_pton(socket.AF_INET, text) for text in ("192.0.2.1", "192.0.2.2"))
SOURCE6, DESTINATION6 = (socket.inet_pton(socket.AF_INET6, text) for text in ("2001:db8::1", "2001:db8::2"))

IPV4, IPV6, ARP, LLDP, VLAN, QINQ = 0x0800, 0x86DD, 0x0806, 0x88CC, 0x8100, 0x88A8
ICMP, IPIP, TCP, UDP, GRE, AH, ICMPV6, SCTP = 1, 4, 6, 17, 47, 51, 58, 132
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION_OPTIONS, NO_NEXT = 0, 43, 44, 60, 59
MORE_FRAGMENTS = 0x2000
SYN_ACK = 0x12
VXLAN_PORT = 4789


@dataclass(frozen=True, slots=True)
class Frame:
    """A frame, and what the tables have to say of it; ports and flags are 0 where there are none."""

    name: str
    data: bytes
    ip_version: int | None
    protocol: str
    ports: tuple[int, int] = (0, 0)
    tcp_flags: int = 0


def tcp(source: int = 40009, destination: int = 443, flags: int = SYN_ACK) -> bytes:
    """Write a segment without data."""
    return struct.pack("!HHIIBBHHH", source, destination, 1009, 0, 5 << 4, flags, 8192, 0, 0)


def udp(source: int = 40011, destination: int = 53, payload: bytes = b"sonde") -> bytes:
    """Write a datagram."""
    return struct.pack("!HHHH", source, destination, 8 + len(payload), 0) + payload


def ipv4(protocol: int, payload: bytes, *, fragment: int = 0, options: bytes = b"") -> bytes:
    """Write a packet; ``fragment`` is the field of flags and offset. Nobody checks the sum here."""
    length = 20 + len(options)
    head = struct.pack(
        "!BBHHHBBH", 0x40 | length // 4, 0, length + len(payload), 1009, fragment, 64, protocol, 0
    )
    return head + SOURCE + DESTINATION + options + payload


def ipv6(protocol: int, payload: bytes) -> bytes:
    """Write a packet."""
    return struct.pack("!IHBB", 6 << 28, len(payload), protocol, 64) + SOURCE6 + DESTINATION6 + payload


def extension(following: int, payload: bytes, *, units: int = 0) -> bytes:
    """Write an extension header of 8 bytes and so many times 8 more, and what follows."""
    return struct.pack("!BB", following, units) + bytes(6 + 8 * units) + payload


def fragment(following: int, field: int, payload: bytes) -> bytes:
    """Write a fragment header of IPv6; ``field`` is its offset in bytes, a multiple of 8, and 1 for more to come."""
    return struct.pack("!BBHI", following, 0, field, 1009) + payload


def authentication(following: int, payload: bytes) -> bytes:
    """Write an authentication header of 24 bytes, whose length counts four bytes each."""
    return struct.pack("!BBHII", following, 4, 0, 7, 1) + bytes(12) + payload


def frame(ethertype: int, payload: bytes, *tags: tuple[int, int]) -> bytes:
    """Write a frame; ``tags`` are (EtherType, VLAN), the outer one first."""
    told = b"".join(struct.pack("!HH", kind, vlan) for kind, vlan in tags)
    return MACS + told + struct.pack("!H", ethertype) + payload


def ip_frames() -> list[Frame]:
    """Frames of IP as they should be, of both versions."""
    ports, dns, sctp = (40009, 443), (40011, 53), struct.pack("!HHII", 7, 9, 0, 0)
    return [
        Frame("tcp", frame(IPV4, ipv4(TCP, tcp())), 4, "TCP", ports, SYN_ACK),
        Frame("tcp6", frame(IPV6, ipv6(TCP, tcp())), 6, "TCP", ports, SYN_ACK),
        Frame("udp", frame(IPV4, ipv4(UDP, udp())), 4, "UDP", dns),
        Frame("udp6", frame(IPV6, ipv6(UDP, udp())), 6, "UDP", dns),
        Frame("icmp", frame(IPV4, ipv4(ICMP, bytes((8, 0)) + bytes(6))), 4, "ICMP"),
        Frame("icmp6", frame(IPV6, ipv6(ICMPV6, bytes((128, 0)) + bytes(6))), 6, "IPv6-ICMP"),
        Frame("sctp", frame(IPV4, ipv4(SCTP, sctp)), 4, "SCTP", (7, 9)),
        Frame("options", frame(IPV4, ipv4(TCP, tcp(), options=b"\1" * 12)), 4, "TCP", ports, SYN_ACK),
        Frame("vlan", frame(IPV4, ipv4(UDP, udp()), (VLAN, 7)), 4, "UDP", dns),
        Frame("qinq", frame(IPV6, ipv6(TCP, tcp()), (QINQ, 7), (VLAN, 11)), 6, "TCP", ports, SYN_ACK),
        Frame("first", frame(IPV4, ipv4(UDP, udp(), fragment=MORE_FRAGMENTS)), 4, "UDP", dns),
        Frame("later", frame(IPV4, ipv4(UDP, bytes(16), fragment=MORE_FRAGMENTS | 2)), 4, "UDP"),
        Frame("first6", frame(IPV6, ipv6(FRAGMENT, fragment(UDP, 1, udp()))), 6, "UDP", dns),
        Frame("later6", frame(IPV6, ipv6(FRAGMENT, fragment(UDP, 16, bytes(8)))), 6, "UDP"),
        Frame("atomic6", frame(IPV6, ipv6(FRAGMENT, fragment(UDP, 0, udp()))), 6, "UDP", dns),
        Frame("extensions", frame(IPV6, ipv6(HOP_BY_HOP, _extended())), 6, "TCP", ports, SYN_ACK),
        Frame("authenticated", frame(IPV6, ipv6(AH, authentication(UDP, udp()))), 6, "UDP", dns),
        Frame("nothing6", frame(IPV6, ipv6(NO_NEXT, b"")), 6, "IPv6-NoNxt"),
        Frame("unassigned", frame(IPV4, ipv4(200, bytes(20))), 4, "protocol_200"),
        # Of tunnels the outer headers count.
        Frame("gre", frame(IPV4, ipv4(GRE, struct.pack("!HH", 0, IPV4) + ipv4(TCP, tcp()))), 4, "GRE"),
        Frame("ipip", frame(IPV4, ipv4(IPIP, ipv4(TCP, tcp()))), 4, "IPv4"),
        Frame("vxlan", frame(IPV4, ipv4(UDP, _vxlan())), 4, "UDP", (40013, VXLAN_PORT)),
        # A header of TCP that the packet has not all of: the ports are there, the flags are not.
        Frame("short", frame(IPV4, ipv4(TCP, tcp()[:8])) + bytes(18), 4, "TCP", ports),
    ]


def other_frames() -> list[Frame]:
    """Frames that are no IP, and those that are none as it should be."""
    eight = b""
    for _ in range(9):
        eight = extension(DESTINATION_OPTIONS, eight)
    return [
        Frame("arp", frame(ARP, bytes(46)), None, "ARP"),
        Frame("lldp", frame(LLDP, bytes(46)), None, "LLDP"),
        Frame("llc", frame(38, bytes(46)), None, "LLC"),
        Frame("unknown", frame(0x1234, bytes(46)), None, "ethertype_0x1234"),
        Frame("truncated", frame(IPV4, ipv4(TCP, tcp())[:19]), 4, "truncated"),
        Frame("truncated6", frame(IPV6, ipv6(TCP, tcp())[:39]), 6, "truncated"),
        Frame("cut", frame(IPV6, ipv6(ROUTING, extension(TCP, b"", units=7)[:32])), 6, "truncated"),
        Frame("version", frame(IPV4, b"\x65" + ipv4(TCP, tcp())[1:]), 4, "bad_version"),
        Frame("length", frame(IPV4, b"\x44" + ipv4(TCP, tcp())[1:]), 4, "bad_header_length"),
        Frame(
            "tags", frame(IPV4, ipv4(UDP, udp()), (QINQ, 7), (VLAN, 11), (VLAN, 13)), None, "too_many_tags"
        ),
        Frame("long", frame(IPV6, ipv6(DESTINATION_OPTIONS, eight)), 6, "too_many_extensions"),
    ]


def _extended() -> bytes:
    routed = extension(DESTINATION_OPTIONS, extension(TCP, tcp(), units=3))
    return extension(DESTINATION_OPTIONS, extension(ROUTING, routed, units=2), units=1)


def _vxlan() -> bytes:
    inner = frame(IPV4, ipv4(TCP, tcp()))
    return udp(40013, VXLAN_PORT, struct.pack("!II", 0x08000000, 42 << 8) + inner)


def all_frames() -> list[Frame]:
    """Give one frame of each kind."""
    return ip_frames() + other_frames()


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Send a known number of frames of each kind.")
    parser.add_argument("--interface", required=True)
    parser.add_argument("--frames", type=int, default=1009, help="of each kind")
    arguments = parser.parse_args()
    kinds = all_frames()
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.bind((arguments.interface, 0))
        for _ in range(arguments.frames):
            for each in kinds:
                wire.send(each.data)
    sent = [
        {"ip_version": each.ip_version, "protocol": each.protocol, "packets": arguments.frames}
        for each in kinds
    ]
    print(json.dumps({"interface": arguments.interface, "sent": sent}))


if __name__ == "__main__":
    main()
