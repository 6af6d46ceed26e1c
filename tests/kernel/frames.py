"""Frames for tests, written out: Ethernet, IPv4 and IPv6, UDP and TCP, right or wrong as the test wants them."""

from __future__ import annotations

import socket
import struct

from kernel.network import End, checksum, frame

IPV4, IPV6 = 0x0800, 0x86DD
TCP, UDP, DESTINATION = 6, 17, 60
SYN, ACK = 0x02, 0x10


def udp(sender: End, receiver: End, port: int, *, length_bytes: int = 100, sum_off_by: int = 0) -> bytes:
    """A datagram of so many bytes with its header, for ``ipv4``; ``sum_off_by`` makes its checksum wrong."""
    head = struct.pack("!HHHH", 40009, port, length_bytes, 0)
    return _summed(sender, receiver, UDP, head.ljust(length_bytes, b"s"), 6, sum_off_by)


def tcp(
    sender: End,
    receiver: End,
    port: int,
    *,
    port_from: int = 40009,
    flags: int = SYN,
    data: bytes = b"",
    sum_off_by: int = 0,
) -> bytes:
    """A segment, for ``ipv4``."""
    head = struct.pack("!HHIIBBHHH", port_from, port, 1009, 0, 5 << 4, flags, 8192, 0, 0)
    return _summed(sender, receiver, TCP, head + data, 16, sum_off_by)


def udp6(sender: End, receiver: End, port: int, *, length_bytes: int = 100) -> bytes:
    """A datagram for ``ipv6``."""
    payload = struct.pack("!HHHH", 40009, port, length_bytes, 0).ljust(length_bytes, b"s")
    ends = _packed6(sender.address6) + _packed6(receiver.address6)
    total = checksum(ends + struct.pack("!IHBB", length_bytes, 0, 0, UDP) + payload) or 0xFFFF
    return payload[:6] + struct.pack("!H", total) + payload[8:]


def _summed(sender: End, receiver: End, protocol: int, payload: bytes, at: int, sum_off_by: int) -> bytes:
    ends = socket.inet_aton(sender.address) + socket.inet_aton(receiver.address)
    total = checksum(ends + struct.pack("!HH", protocol, len(payload)) + payload) or 0xFFFF
    # 0 says that there is no checksum.
    total = (total + sum_off_by) % 0x10000 or 1
    return payload[:at] + struct.pack("!H", total) + payload[at + 2 :]


def ipv4(
    sender: End,
    receiver: End,
    protocol: int,
    payload: bytes,
    *,
    source: str = "",
    destination: str = "",
    hops: int = 64,
    sum_off_by: int = 0,
) -> bytes:
    """A frame with a packet of IPv4 in it, from end to end where no addresses are given."""
    words = [0x4500, 20 + len(payload), 0, 0, hops << 8 | protocol, 0]
    ends = socket.inet_aton(source or sender.address) + socket.inet_aton(destination or receiver.address)
    words[5] = (checksum(struct.pack("!6H", *words) + ends) + sum_off_by) % 0x10000
    return frame(sender, receiver, IPV4, struct.pack("!6H", *words) + ends + payload)


def ipv6(
    sender: End,
    receiver: End,
    protocol: int,
    payload: bytes,
    *,
    source: str = "",
    destination: str = "",
    hops: int = 64,
) -> bytes:
    """A frame with a packet of IPv6 in it, from end to end where no addresses are given."""
    head = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hops)
    ends = _packed6(source or sender.address6) + _packed6(destination or receiver.address6)
    return frame(sender, receiver, IPV6, head + ends + payload)


def _packed6(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6, address)
