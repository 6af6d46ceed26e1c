"""Where addresses are, and by which interface an address is reached: in the calling thread's network namespace."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address

from sonde.filter.packet import Address

SIOCGIFCONF = 0x8912  # linux/sockios.h
IFREQ_BYTES = 40  # struct ifreq on 64-bit machines: a name of 16, an address
INTERFACES_MAX = 4096
RTM_GETROUTE, RTM_NEWROUTE, NLM_F_REQUEST = 26, 24, 1  # linux/rtnetlink.h, linux/netlink.h
RTA_DST, RTA_OIF = 1, 4


def interfaces_of(address: Address) -> set[str]:
    """Name the interfaces that have an address."""
    found = _ipv4_addresses() if isinstance(address, IPv4Address) else _ipv6_addresses()
    return {name for name, each in found if each == address}


def _ipv4_addresses() -> Iterator[tuple[str, Address]]:
    """List all of them, secondary ones too (inet_gifconf, net/ipv4/devinet.c)."""
    room = array.array("B", bytes(IFREQ_BYTES * INTERFACES_MAX))
    place, _ = room.buffer_info()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        used: int = struct.unpack(
            "iP", fcntl.ioctl(asking, SIOCGIFCONF, struct.pack("iP", len(room), place))
        )[0]
    for at in range(0, used, IFREQ_BYTES):
        entry = room[at : at + IFREQ_BYTES].tobytes()
        # A further address may have a label of its own: eth0:1.
        yield os.fsdecode(entry[:16].rstrip(b"\0")).partition(":")[0], IPv4Address(entry[20:24])


def _ipv6_addresses() -> Iterator[tuple[str, Address]]:
    try:
        with open("/proc/thread-self/net/if_inet6", encoding="utf-8", errors="surrogateescape") as file:
            rows = [line.split() for line in file]
    except FileNotFoundError:  # a kernel without IPv6
        return
    yield from ((row[5], IPv6Address(bytes.fromhex(row[0]))) for row in rows)


def way_to(address: Address) -> str | None:
    """Name the interface by which packets leave for an address; None where there is no way, or none that is known."""
    is_ipv4 = isinstance(address, IPv4Address)
    family = socket.AF_INET if is_ipv4 else socket.AF_INET6
    raw = address.packed
    # struct rtmsg, then the destination as an attribute.
    body = struct.pack("=BBBBBBBBI", family, len(raw) * 8, 0, 0, 0, 0, 0, 0, 0)
    body += struct.pack("=HH", 4 + len(raw), RTA_DST) + raw
    request = struct.pack("=IHHII", 16 + len(body), RTM_GETROUTE, NLM_F_REQUEST, 1, 0) + body
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as asking:
            asking.settimeout(1)
            asking.sendto(request, (0, 0))
            reply = asking.recv(8192)
        index = _attribute(reply, RTA_OIF) if struct.unpack_from("=H", reply, 4)[0] == RTM_NEWROUTE else None
        return None if index is None else socket.if_indextoname(index)
    except OSError:
        return None


def _attribute(reply: bytes, wanted: int) -> int | None:
    """Find a number among the attributes behind nlmsghdr (16 bytes) and rtmsg (12)."""
    at = 28
    while at + 8 <= len(reply):
        length, kind = struct.unpack_from("=HH", reply, at)
        if kind == wanted:
            return int(struct.unpack_from("=I", reply, at + 4)[0])
        if length < 4:
            return None
        at += (length + 3) & ~3
    return None


def above(interface: str) -> set[str] | None:
    """Name the interfaces that get their packets through this one: bridges, bonds, VLANs; None where that is not known."""
    found, left = set[str](), [interface]
    while left:
        folder = f"/sys/class/net/{left.pop()}"
        try:
            with open(f"{folder}/ifindex", encoding="ascii") as file:
                index = int(file.read())
            # The mount may show another network namespace than the one that we are in.
            if index != socket.if_nametoindex(os.path.basename(folder)):
                return None
            names = {name[6:] for name in os.listdir(folder) if name.startswith("upper_")}
        except (OSError, ValueError):
            return None
        left += names - found
        found |= names
    return found
