"""Frames that the kernel drops, each for a reason and in a function of its own; tests of the probe ``drops`` send them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import kernel.frames as frames
from kernel.network import End
from sonde.enrich.drop_reason import CORE, CORE_PREFIX
from sonde.enrich.kernel_enum import kernel_enum

# In Linux 7.2 the two functions of each are one.
UDP_RECEIVE, UDP6_RECEIVE = ("__udp4_lib_rcv", "udp_rcv"), ("__udp6_lib_rcv", "udpv6_rcv")


@dataclass(frozen=True)
class Drop:
    """Frames that the far end drops: made by ``make``, after ``prepare``; nstat counts them as ``counter``.

    ``functions`` are the kernel's over the years, ``reason`` is the one since it has one for it.
    """

    reason: str
    functions: tuple[str, ...]
    make: Callable[[End, End], bytes]
    counter: str = ""
    protocol: str | None = "UDP"
    prepare: Callable[[End], None] = lambda far: None


def datagram(near: End, far: End, **options: Any) -> bytes:
    """Make a frame with a datagram for a port without a socket; ``options`` are those of ``frames.ipv4``."""
    return frames.ipv4(near, far, frames.UDP, frames.udp(near, far, 9), **options)


def segment(near: End, far: End, *, sum_off_by: int = 0) -> bytes:
    """Make a frame with the beginning of a connection that nobody takes."""
    return frames.ipv4(near, far, frames.TCP, frames.tcp(near, far, 9, sum_off_by=sum_off_by))


def _forward(far: End) -> None:
    far.sysctl("ipv4.ip_forward", 1)


def _filter_reverse_path(far: End) -> None:
    far.sysctl("ipv4.conf.all.rp_filter", 1)
    far.ip("route add 10.97.0.0/24 dev lo")


DROPS = {
    "a port without a socket": Drop("NO_SOCKET", UDP_RECEIVE, datagram, "UdpNoPorts"),
    "a port without a socket, IPv6": Drop(
        "NO_SOCKET",
        UDP6_RECEIVE,
        lambda near, far: frames.ipv6(near, far, frames.UDP, frames.udp6(near, far, 9)),
        "Udp6NoPorts",
    ),
    "a connection that nobody takes": Drop(
        "NO_SOCKET", ("tcp_v4_rcv",), segment, "TcpOutRsts", protocol="TCP"
    ),
    "a wrong checksum of UDP": Drop(
        "UDP_CSUM",
        UDP_RECEIVE,
        lambda near, far: frames.ipv4(near, far, frames.UDP, frames.udp(near, far, 9, sum_off_by=1)),
        "UdpInCsumErrors",
    ),
    "a wrong checksum of TCP": Drop(
        "TCP_CSUM",
        ("tcp_v4_rcv",),
        lambda near, far: segment(near, far, sum_off_by=1),
        "TcpInCsumErrors",
        protocol="TCP",
    ),
    "a wrong checksum of IP": Drop(
        "IP_CSUM",
        ("ip_rcv_core",),
        lambda near, far: datagram(near, far, sum_off_by=1),
        "IpExtInCsumErrors",
    ),
    "a protocol that nobody speaks": Drop(
        "IP_NOPROTO",
        ("ip_local_deliver_finish", "ip_protocol_deliver_rcu"),
        lambda near, far: frames.ipv4(near, far, 253, b"x" * 100),
        "IpInUnknownProtos",
        protocol="protocol_253",
    ),
    "another host's": Drop(
        "OTHERHOST",
        ("ip_rcv_core",),
        lambda near, far: b"\x02\0\0\0\0\x09" + datagram(near, far)[6:],
    ),
    "an address that is not here": Drop(
        "IP_INADDRERRORS",
        ("ip_error",),
        lambda near, far: datagram(near, far, destination="10.98.0.1"),
        "IpInAddrErrors",
    ),
    "no hops left": Drop(
        "IP_INHDR",
        ("ip_forward",),
        lambda near, far: datagram(near, far, destination="10.99.0.7", hops=1),
        "IpInHdrErrors",
        prepare=_forward,
    ),
    "no route": Drop(
        "IP_INNOROUTES",
        ("ip_error",),
        lambda near, far: datagram(near, far, destination="10.98.0.7"),
        "IpExtInNoRoutes",
        prepare=_forward,
    ),
    "a way back by another interface": Drop(
        "IP_RPFILTER",
        ("ip_rcv_finish_core",),
        lambda near, far: datagram(near, far, source="10.97.0.7"),
        "TcpExtIPReversePathFilter",
        prepare=_filter_reverse_path,
    ),
    "a loopback address from outside": Drop(
        "IP_LOCALNET",
        ("ip_rcv_finish_core",),
        lambda near, far: datagram(near, far, source="127.0.0.7"),
    ),
}


def told(reason: str) -> tuple[str | None, ...]:
    """What this kernel may say where the newest says so: none before 5.17, then nothing in particular for long."""
    known = kernel_enum(CORE)
    if not known:
        return (None,)
    return ("NOT_SPECIFIED", reason) if CORE_PREFIX + reason in known.values() else ("NOT_SPECIFIED",)
