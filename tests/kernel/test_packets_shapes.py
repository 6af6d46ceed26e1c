"""The probe ``packets`` on packets that are not in one piece, are several, or begin with the IP header."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kernel import network
from sonde.bpf import ObjectSpec
from sonde.bpf.hooks import Tc
from sonde.probe import Selection
from sonde.probes import probe
from sonde.probes.packets.workload import (
    FRAGMENT,
    HOP_BY_HOP,
    IPV4,
    IPV6,
    TCP,
    UDP,
    extension,
    fragment,
    frame,
    ipv4,
    ipv6,
    tcp,
    udp,
)
from sonde.run import Run

SOL_PACKET, PACKET_VNET_HDR = 263, 15  # linux/if_packet.h
NEEDS_CHECKSUM, GSO_TCPV4, GSO_TCPV6 = 1, 1, 4  # linux/virtio_net.h
JUMBO_OPTION = 0xC2  # RFC 2675
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h
JUMBO = 9000
COUNT = 31
OUTPUTS = ("protocols", "flows")


@contextmanager
def jumbo_pair() -> Iterator[network.Pair]:
    with network.pair() as made:
        for end in (made.near, made.far):
            end.ip(f"link set dev {end.interface} mtu {JUMBO}")
        yield made


def rows_of(run: Run) -> list[dict[str, Any]]:
    run.stop()
    batch = run.read()
    assert batch.accounting.balanced, str(batch.accounting)
    return list(batch.rows())


def received(run: Run) -> int:
    """How many packets have come in so far."""
    return sum(row["packets"] for row in run.read().rows() if row["direction"] == "ingress")


def send_raw(end: network.End, header: bytes, data: bytes, count: int) -> None:
    """Send frames with a header of virtio before them: it says how much is in one piece, and what the segments are."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as wire:
        wire.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)
        wire.bind((end.interface, 0))
        for _ in range(count):
            wire.send(header + data)


@pytest.mark.parametrize("output", OUTPUTS)
def test_headers_that_are_not_in_one_piece_are_read(output: str) -> None:
    """Of a long frame the kernel keeps 14 bytes in one piece and the rest in pages: its headers are told all the same."""
    cases = [
        (frame(IPV4, ipv4(TCP, tcp() + bytes(6000))), 4, "TCP"),
        (frame(IPV4, ipv4(UDP, udp(payload=bytes(6000)))), 4, "UDP"),
        (frame(IPV6, ipv6(HOP_BY_HOP, extension(UDP, udp(payload=bytes(6000)), units=3))), 6, "UDP"),
        (frame(IPV6, ipv6(FRAGMENT, fragment(TCP, 1, tcp() + bytes(6000)))), 6, "TCP"),
    ]
    with (
        jumbo_pair() as pair,
        pair.near.entered(),
        Run(probe("packets"), output, selection=Selection(interfaces=(pair.near.interface,))) as run,
    ):
        for data, _, _ in cases:
            send_raw(pair.near, bytes(10), data, COUNT)
        rows = rows_of(run)

    told = {(row["ip_version"], row["protocol"]): (row["packets"], row["bytes"]) for row in rows}
    assert {(version, name): (COUNT, COUNT * len(data)) for data, version, name in cases} == told
    if output == "flows":
        ports = {(row["source_port"], row["destination_port"]) for row in rows}
        assert ports == {(40009, 443), (40011, 53)}


def test_the_kernel_keeps_such_headers_apart(compile_object: Callable[[str | Path], Path]) -> None:
    """What the test above rests on: of such a frame only the Ethernet header lies where a program may read in place."""
    data = frame(IPV4, ipv4(TCP, tcp() + bytes(6000)))
    with (
        jumbo_pair() as pair,
        pair.near.entered(),
        ObjectSpec.open(compile_object("network/parse.bpf.c")) as spec,
        spec.load() as made,
        made.programs["parse_skb"].attach(Tc(pair.near.interface, "egress")),
    ):
        send_raw(pair.near, bytes(10), data, 1)
        assert made.variables["linear_bytes"].value == 14


def _sent_in_pieces(output: str, header: bytes, data: bytes) -> dict[str, Any]:
    """Send a frame with the header of virtio that says how it is to be cut, and give the row that counts it."""
    with (
        jumbo_pair() as pair,
        pair.near.entered(),
        Run(probe("packets"), output, selection=Selection(interfaces=(pair.near.interface,))) as run,
    ):
        send_raw(pair.near, header, data, COUNT)
        (row,) = rows_of(run)
    return row


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_is_cut_into_segments_behind_us_counts_as_segments(output: str) -> None:
    """Four segments of 1,000 bytes and one of 7, sent in one piece: five packets, each with its headers."""
    data = frame(IPV4, ipv4(TCP, tcp() + bytes(4007)))
    header = struct.pack("<BBHHHH", NEEDS_CHECKSUM, GSO_TCPV4, 54, 1000, 34, 16)
    row = _sent_in_pieces(output, header, data)

    assert (row["direction"], row["protocol"]) == ("egress", "TCP")
    assert (row["packets"], row["bytes"]) == (5 * COUNT, COUNT * (5 * 54 + 4007))


@pytest.mark.parametrize("output", OUTPUTS)
def test_what_says_that_many_segments_are_long_is_in_none_of_them(output: str) -> None:
    """66 segments of 1,000 bytes and one of 7 in one piece, as BIG TCP sends them: the jumbo option counts for none."""
    option = struct.pack("!BBBBI", TCP, 0, JUMBO_OPTION, 4, 8 + 20 + 66_007)
    header = struct.pack("!IHBB", 6 << 28, 0, HOP_BY_HOP, 64) + ipv6(HOP_BY_HOP, b"")[8:]
    data = frame(IPV6, header + option + tcp() + bytes(66_007))
    segments = struct.pack("<BBHHHH", NEEDS_CHECKSUM, GSO_TCPV6, 82, 1000, 62, 16)
    row = _sent_in_pieces(output, segments, data)

    assert (row["direction"], row["protocol"], row["ip_version"]) == ("egress", "TCP", 6)
    assert (row["packets"], row["bytes"]) == (67 * COUNT, COUNT * (67 * (14 + 40 + 20) + 66_007))


@contextmanager
def tun(name: str) -> Iterator[int]:
    """An interface without link-layer headers, in the thread's namespace; what is written to it comes in there."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    try:
        fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TUN | IFF_NO_PI))
        yield fd
    finally:
        os.close(fd)


@pytest.mark.skipif(not os.path.exists("/dev/net/tun"), reason="/dev/net/tun is missing")
@pytest.mark.parametrize("output", OUTPUTS)
def test_interfaces_without_ethernet_are_read_from_the_ip_header_on(output: str) -> None:
    """IPv4 and IPv6 written to a tun come in by traffic control, and are as long as they are."""
    four, six = ipv4(UDP, udp()), ipv6(HOP_BY_HOP, extension(TCP, tcp()))
    with network.namespace() as inside, inside.entered(), tun("sondetun") as fd:
        inside.ip("link set dev sondetun up")
        with Run(probe("packets"), output, selection=Selection(interfaces=("sondetun",))) as run:
            assert "tc" in run.describe()["interfaces"][0]["ingress"]
            for _ in range(COUNT):
                os.write(fd, four)
                os.write(fd, six)
            # The kernel may take some of them later.
            deadline = time.monotonic() + network.DEADLINE_S
            while received(run) < 2 * COUNT:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            rows = [row for row in rows_of(run) if row["direction"] == "ingress"]

    told = {(row["ip_version"], row["protocol"]): (row["packets"], row["bytes"]) for row in rows}
    assert told == {(4, "UDP"): (COUNT, COUNT * len(four)), (6, "TCP"): (COUNT, COUNT * len(six))}
