"""Frames taken apart by dpkt, header by header, as the oracle of the parser in BPF.

dpkt reads the fields; which header comes next, and what is wrong with a frame, is worked out here from the RFCs.
"""

from __future__ import annotations

import dpkt

ETHERNET_BYTES, TAG_BYTES, TAGS_MAX, EXTENSIONS_MAX = 14, 4, 2, 8
TAGS = (0x8100, 0x88A8)
IPV4, IPV6 = 0x0800, 0x86DD
TRUNCATED, BAD_VERSION, BAD_HEADER_LENGTH, TOO_MANY_TAGS, TOO_MANY_EXTENSIONS = range(1, 6)
FIRST, LATER = 1, 2
WITH_PORTS = (6, 17, 33, 132, 136)
"""TCP, UDP, DCCP, SCTP, UDP-Lite."""

WITH_TYPE = (1, 58)
"""ICMP, ICMPv6."""


class Ethernet(dpkt.Packet):  # type: ignore[misc]
    """dpkt's header alone: its own class goes on to what is behind, as do the others."""

    __hdr__ = dpkt.ethernet.Ethernet.__hdr__


class Ip4(dpkt.Packet):  # type: ignore[misc]
    """Without its options."""

    __hdr__, __bit_fields__ = dpkt.ip.IP.__hdr__, dpkt.ip.IP.__bit_fields__


class Ip6(dpkt.Packet):  # type: ignore[misc]
    """Without its extension headers."""

    __hdr__, __bit_fields__ = dpkt.ip6.IP6.__hdr__, dpkt.ip6.IP6.__bit_fields__


class Extension(dpkt.Packet):  # type: ignore[misc]
    """Hop-by-hop and destination options; a routing header begins alike."""

    __hdr__ = dpkt.ip6.IP6OptsHeader.__hdr__


class Fragment(dpkt.Packet):  # type: ignore[misc]
    """A fragment header."""

    __hdr__, __bit_fields__ = dpkt.ip6.IP6FragmentHeader.__hdr__, dpkt.ip6.IP6FragmentHeader.__bit_fields__


class Authentication(dpkt.Packet):  # type: ignore[misc]
    """An authentication header."""

    __hdr__ = dpkt.ip6.IP6AHHeader.__hdr__


class Segment(dpkt.Packet):  # type: ignore[misc]
    """A header of TCP; the ports of all others stand where its do."""

    __hdr__, __bit_fields__ = dpkt.tcp.TCP.__hdr__, dpkt.tcp.TCP.__bit_fields__


def dissected(data: bytes) -> dict[str, object]:
    """Take a frame apart: the members of struct packet that are not zero, addresses as bytes."""
    told: dict[str, object] = {}
    try:
        _frame(data, told)
    except dpkt.NeedData:
        told["reason"] = TRUNCATED
    return {name: value for name, value in told.items() if value}


def _frame(data: bytes, told: dict[str, object]) -> None:
    offset, ethertype, tags = ETHERNET_BYTES, Ethernet(data).type, []
    try:
        while ethertype in TAGS and len(tags) < TAGS_MAX:
            tag = dpkt.ethernet.VLANtag8021Q(data[offset:])
            tags.append(tag.id)
            ethertype, offset = tag.type, offset + TAG_BYTES
    finally:
        told |= {"ethertype": ethertype, "tags": tuple(tags), "tags_count": len(tags)}
    if ethertype in TAGS:
        told["reason"] = TOO_MANY_TAGS
    elif ethertype in (IPV4, IPV6):
        told |= {"network_offset": offset, "ip_version": 4 if ethertype == IPV4 else 6}
        (_ipv4 if ethertype == IPV4 else _ipv6)(data, offset, told)


def _ipv4(data: bytes, offset: int, told: dict[str, object]) -> None:
    header = Ip4(data[offset:])
    if header.v != 4:
        told["reason"] = BAD_VERSION
        return
    if header.hl < 5:
        told["reason"] = BAD_HEADER_LENGTH
        return
    if len(data) < offset + 4 * header.hl:
        raise dpkt.NeedData
    told |= {"source": header.src, "destination": header.dst, "protocol": header.p}
    told["fragment"] = LATER if header.offset else FIRST if header.mf else 0
    end = offset + header.len if header.len else len(data)
    _transport(data, offset + 4 * header.hl, end, told)


def _ipv6(data: bytes, offset: int, told: dict[str, object]) -> None:
    header = Ip6(data[offset:])
    if header.v != 6:
        told["reason"] = BAD_VERSION
        return
    told |= {"source": header.src, "destination": header.dst}
    offset += 40
    end = offset + header.plen if header.plen else len(data)
    following, fragment, walked = header.nxt, 0, 0
    while following in (0, 43, 44, 51, 60) and fragment != LATER:
        if walked == EXTENSIONS_MAX:
            told["reason"] = TOO_MANY_EXTENSIONS
            return
        following, length, more = _extension(data[offset:], following)
        offset, walked, fragment = offset + length, walked + 1, more or fragment
    if walked and offset > len(data):
        raise dpkt.NeedData
    told |= {"protocol": following, "fragment": fragment}
    _transport(data, offset, end, told)


def _extension(data: bytes, kind: int) -> tuple[int, int, int]:
    """Give what follows, the length in bytes, and what fragment it is."""
    if len(data) < 8:
        raise dpkt.NeedData
    if kind == 44:
        fragment = Fragment(data)
        return fragment.nxt, 8, LATER if fragment.frag_off else FIRST if fragment.m_flag else 0
    if kind == 51:
        header = Authentication(data.ljust(12, b"\0"))
        return header.nxt, (header.len + 2) * 4, 0
    header = Extension(data)
    return header.nxt, (header.len + 1) * 8, 0


def _transport(data: bytes, offset: int, end: int, told: dict[str, object]) -> None:
    if told["fragment"] == LATER:
        return
    told["transport_offset"] = offset
    there = data[offset : min(end, len(data))]
    if len(there) < 4:
        return
    if told["protocol"] in WITH_TYPE:
        told |= {"has_icmp": 1, "icmp_type": there[0], "icmp_code": there[1]}
    if told["protocol"] not in WITH_PORTS:
        return
    segment = Segment(there.ljust(20, b"\0"))
    told |= {"has_ports": 1, "source_port": segment.sport, "destination_port": segment.dport}
    if told["protocol"] == 6 and len(there) >= 14:
        told |= {"has_tcp_flags": 1, "tcp_flags": segment.flags & 0xFF}
