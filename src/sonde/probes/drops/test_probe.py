"""The probe ``drops`` on the real kernel: each dropped packet counts once, with its reason and its function."""

from __future__ import annotations

import os
import socket
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from threading import Thread

import numpy as np
import pytest

import kernel.frames as frames
import kernel.network as network
from kernel.drop_cases import DROPS, UDP6_RECEIVE, UDP_RECEIVE, datagram, segment, told
from kernel.evidence import KernelName
from kernel.network import Pair
from sonde.errors import KnobError
from sonde.probe import Probe, Selection
from sonde.probes import probe
from sonde.probes.drops import workload
from sonde.records.model import RecordBatch
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]
COUNT = 1009
NETIF_RECEIVE = "__netif_receive_skb_core"
VARIANTS = probe("drops").variants


@pytest.fixture
def pair() -> Iterator[Pair]:
    with network.pair() as made:
        yield made


def only(variant: str) -> Probe:
    """The probe with one of its variants."""
    return replace(probe("drops"), variants=tuple(each for each in VARIANTS if each.name == variant))


def counted(pair: Pair, frame: bytes, count: int = COUNT, *, of: Probe | None = None) -> RecordBatch:
    """Send a frame so often while the table counts what the far namespace drops."""
    with Run(of or probe("drops"), "counts", values={"netns": pair.far.path}) as run:
        pair.send(frame, count=count)
        run.stop()
        batch = run.read()
    assert batch.accounting.balanced
    # Of others' drops, too, the kernel may skip one that comes while the program runs for another.
    assert batch.accounting.lost_total == batch.accounting.lost["recursion"]
    return batch


@pytest.mark.parametrize("name", DROPS)
def test_a_prime_count_is_exact_with_its_reason_and_function(name: str, pair: Pair) -> None:
    """So many packets, their bytes from the IP header on, in agreement with what nstat counts."""
    case = DROPS[name]
    case.prepare(pair.far)
    frame = case.make(pair.near, pair.far)
    before = pair.far.nstat().get(case.counter, 0)
    batch = counted(pair, frame)
    (row,) = batch.rows()
    assert row["reason"] in told(case.reason)
    assert row["function"] in case.functions
    assert (row["packets"], row["bytes"]) == (COUNT, COUNT * (_ip_length(frame)))
    assert (row["interface"], row["ifindex"], row["netns_id"]) == (
        pair.far.interface,
        pair.far.index,
        pair.far.inode,
    )
    assert row["ip_version"] == (6 if "IPv6" in name else 4)
    assert row["protocol"] == case.protocol
    if case.counter:
        assert pair.far.nstat()[case.counter] - before == COUNT


def _ip_length(frame: bytes) -> int:
    if frame[14] >> 4 == 6:
        return 40 + int.from_bytes(frame[18:20], "big")
    return int.from_bytes(frame[16:18], "big")


@pytest.mark.parametrize("variant", [each.name for each in VARIANTS])
def test_both_ways_to_read_a_packet_agree(variant: str, pair: Pair) -> None:
    frame = frames.ipv6(pair.near, pair.far, frames.UDP, frames.udp6(pair.near, pair.far, 9))
    (row,) = counted(pair, frame, of=only(variant)).rows()
    assert row["function"] in UDP6_RECEIVE
    assert (row["packets"], row["bytes"]) == (COUNT, COUNT * 140)


def test_frames_without_ip_are_told_by_their_type(pair: Pair) -> None:
    (row,) = counted(pair, network.frame(pair.near, pair.far, 0x88B5, b"sonde")).rows()
    assert row["reason"] in told("UNHANDLED_PROTO")
    assert (row["ip_version"], row["protocol"], row["packets"]) == (None, "IEEE802_EX1", COUNT)


@pytest.mark.parametrize(
    ("payload", "protocol"), [(b"\x60", "truncated"), (b"\x45" + bytes(99), "bad_version")]
)
def test_what_cannot_be_read_is_told_by_the_reason(payload: bytes, protocol: str, pair: Pair) -> None:
    """A header of IPv6 that ends too soon (frames are padded to 46 bytes behind Ethernet's), or is IPv4's."""
    frame = network.frame(pair.near, pair.far, frames.IPV6, payload)[: 14 + max(len(payload), 39)]
    rows = list(counted(pair, frame).rows())
    assert [(row["ip_version"], row["protocol"], row["packets"]) for row in rows] == [(6, protocol, COUNT)]


def test_headers_between_ip_and_the_protocol_are_walked(pair: Pair) -> None:
    """Hop-by-hop options, then destination options, then a protocol that nobody speaks."""
    options = bytes([frames.DESTINATION, 0, 1, 4, 0, 0, 0, 0]), bytes([253, 0, 1, 4, 0, 0, 0, 0])
    frame = frames.ipv6(pair.near, pair.far, 0, b"".join(options) + b"x" * 100)
    (row,) = counted(pair, frame).rows()
    assert (row["protocol"], row["packets"], row["bytes"]) == ("protocol_253", COUNT, COUNT * 156)


def test_a_firewall_that_drops_is_told(pair: Pair) -> None:
    command = ("iptables", "-A", "INPUT", "-p", "udp", "--dport", "9", "-j", "DROP")
    try:
        pair.far.run(*command)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no firewall can be had here: {error} {getattr(error, 'stderr', '')}")
    (row,) = counted(pair, datagram(pair.near, pair.far)).rows()
    assert row["reason"] in told("NETFILTER_DROP")
    assert row["packets"] == COUNT
    listed = pair.far.run("iptables", "-L", "INPUT", "-v", "-x", "-n").splitlines()[-1].split()
    assert int(listed[0]) == COUNT


def test_a_full_receive_buffer_drops_what_the_socket_does_not_get(pair: Pair) -> None:
    """Datagrams are in the socket, or dropped: none is both, and nstat says the same."""
    with pair.far.entered():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind((pair.far.address, 9))
        receiver.setblocking(False)
        (row,) = counted(pair, datagram(pair.near, pair.far)).rows()
        received = 0
        with suppress(BlockingIOError):
            while receiver.recv(2048):
                received += 1
    assert received > 0
    assert row["reason"] in told("SOCKET_RCVBUFF")
    assert row["packets"] == COUNT - received == pair.far.nstat()["UdpRcvbufErrors"]


def test_a_drop_within_a_connection_is_told_with_its_place(pair: Pair) -> None:
    """While TCP has a packet its skb names no interface: the number is that which it came in by."""
    # With its reasons, in Linux 5.18, TCP began to free such a packet by the function that tells.
    if silent := KernelName("SKB_DROP_REASON_TCP_OLD_DATA")():
        pytest.skip(f"TCP does not tell of what it drops within a connection: {silent}")
    near, far = pair.near, pair.far
    with far.entered():
        listener = socket.create_server((far.address, 9))
    with near.entered():
        sender = socket.create_connection((far.address, 9), timeout=60)
    with listener, sender:
        segment = frames.tcp(near, far, 9, port_from=sender.getsockname()[1], flags=frames.ACK)
        batch = counted(pair, frames.ipv4(near, far, frames.TCP, segment))
    (row,) = (row for row in batch.rows() if row["packets"] >= COUNT)
    # The connection began at a number of its own: the segment is far before it, or behind.
    assert row["reason"] in told("TCP_INVALID_SEQUENCE") + told("TCP_OLD_SEQUENCE")
    assert row["function"] in ("tcp_validate_incoming", "tcp_drop", "tcp_rcv_established", "tcp_ack")
    assert (row["ifindex"], row["interface"], row["bytes"]) == (
        far.index,
        f"if{far.index}",
        row["packets"] * 40,
    )


def test_what_is_taken_is_no_drop(pair: Pair) -> None:
    """Datagrams that a process reads end in consume_skb."""
    with pair.far.entered():
        receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with receiver, Run(probe("drops"), "counts") as run:
        receiver.bind((pair.far.address, 9))
        receiver.settimeout(60)
        pair.send(datagram(pair.near, pair.far), count=101)
        assert sum(len(receiver.recv(2048)) for _ in range(101)) == 101 * 92
        run.stop()
        batch = run.read()
    assert batch.accounting.balanced
    assert not [row for row in batch.rows() if row["netns_id"] in (pair.near.inode, pair.far.inode)]


def test_other_namespaces_are_filtered(pair: Pair) -> None:
    with Run(probe("drops"), "counts", values={"netns": pair.near.path}) as run:
        pair.send(datagram(pair.near, pair.far), count=COUNT)
        run.stop()
        batch = run.read()
    assert not [row for row in batch.rows() if row["function"] in UDP_RECEIVE]
    assert batch.accounting.filtered >= COUNT
    assert batch.accounting.balanced


def test_a_full_table_counts_on_in_other(pair: Pair) -> None:
    """Room for two rows and seven kinds of drops: the rest is in one row, exactly."""
    kinds = 7
    sent = [frames.ipv4(pair.near, pair.far, 243 + number, b"x" * 100) for number in range(kinds)]
    with Run(probe("drops"), "counts", values={"netns": pair.far.path}, max_entries=2) as run:
        pair.send(*sent, count=COUNT)
        run.stop()
        batch = run.read()
    rows = list(batch.rows())
    (other,) = (row for row in rows if row["is_other"])
    assert (other["reason"], other["function"], other["protocol"]) == ("other", None, None)
    assert (
        sum(row["packets"] for row in rows)
        == kinds * COUNT
        == batch.accounting.seen - batch.accounting.filtered - batch.accounting.lost["recursion"]
    )
    assert sum(row["bytes"] for row in rows) == kinds * COUNT * 120
    assert other["packets"] >= (kinds - 2) * COUNT
    assert batch.accounting.balanced


def test_drops_on_all_cpus_are_one_row() -> None:
    """Eight namespaces at a time, each on whichever CPU."""
    numbers: list[int] = []
    with Run(probe("drops"), "counts") as run:
        threads = [
            Thread(target=lambda: numbers.append(workload.run(COUNT, burst=workload.BURST // 8)))
            for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        run.stop()
        batch = run.read()
    found = [row for row in batch.rows() if row["netns_id"] in numbers]
    # A namespace's number is used again when it has ended. Where a CPU is slow its backlog overflows, which is a reason, too.
    assert sum(row["packets"] for row in found) == 8 * COUNT
    assert len({(row["netns_id"], row["reason"], row["function"]) for row in found}) == len(found)
    assert batch.accounting.balanced


def test_drops_that_are_left_out_are_stood_for(pair: Pair) -> None:
    """What the agent does above its budget: packets still add up, and what none stands for yet is sampled out."""
    with Run(probe("drops"), "counts", values={"netns": pair.far.path}) as run:
        run.set_variable("thin_every", 8)
        pair.send(datagram(pair.near, pair.far), count=COUNT)
        run.stop()
        batch = run.read()
    (row,) = batch.rows()
    assert row["packets"] == COUNT - batch.accounting.sampled_out
    assert row["bytes"] == row["packets"] * 120
    assert batch.accounting.notes["represented"] > COUNT / 2
    assert batch.accounting.balanced


def test_differences_add_up(pair: Pair) -> None:
    """What the agent reads: each packet once, over several readings."""
    frame, added = datagram(pair.near, pair.far), 0
    with Run(probe("drops"), "counts", values={"netns": pair.far.path}, differences=True) as run:
        for _ in range(3):
            pair.send(frame, count=101)
            added += sum(row["packets"] for row in run.read().rows())
        run.stop()
        last = run.read()
    assert added + sum(row["packets"] for row in last.rows()) == 303
    assert last.accounting.balanced


def test_the_stream_tells_each_packet(pair: Pair) -> None:
    """Addresses and ports of both versions, the reason, the function, the place."""
    near, far = pair.near, pair.far
    with Run(probe("drops"), "packets", values={"netns": far.path}) as run:
        pair.send(datagram(near, far), count=7)
        pair.send(segment(near, far), count=11)
        pair.send(frames.ipv6(near, far, frames.UDP, frames.udp6(near, far, 9)), count=13)
        pair.send(network.frame(near, far, 0x88B5, b"sonde"), count=3)
        run.stop()
        batch = run.read()
    names = ("function", "protocol", "source", "destination", "bytes", "interface", "netns_id", "tcp_flags")
    # As they were called before.
    names_before = {newer: older for older, newer in (UDP_RECEIVE, UDP6_RECEIVE)}
    found = Counter(
        (names_before.get(row["function"], row["function"]), *list(row.values())[1:])
        for row in batch.rows(names)
    )
    place = (far.interface, far.inode)
    here, there = (near.address, near.address6), (far.address, far.address6)
    assert found == {
        ("__udp4_lib_rcv", "UDP", f"{here[0]}:40009", f"{there[0]}:9", 120, *place, None): 7,
        ("tcp_v4_rcv", "TCP", f"{here[0]}:40009", f"{there[0]}:9", 40, *place, "SYN"): 11,
        ("__udp6_lib_rcv", "UDP", f"[{here[1]}]:40009", f"[{there[1]}]:9", 140, *place, None): 13,
        (NETIF_RECEIVE, "IEEE802_EX1", None, None, 46, *place, None): 3,
    }
    # The same in parts, for machines.
    parts = (
        "protocol",
        "ip_version",
        "source_address",
        "source_port",
        "destination_address",
        "destination_port",
    )
    assert {tuple(row.values()) for row in batch.rows(parts)} == {
        ("UDP", 4, here[0], 40009, there[0], 9),
        ("TCP", 4, here[0], 40009, there[0], 9),
        ("UDP", 6, here[1], 40009, there[1], 9),
        ("IEEE802_EX1", None, None, None, None, None),
    }
    assert {*parts[1:], "netns_id"} <= {*probe("drops").output("packets").details}
    times = np.asarray(batch["time"])
    assert (np.diff(times) >= 0).all()
    assert batch.accounting.balanced
    assert batch.accounting.delivered == 34


def test_a_full_ring_loses_and_says_so(pair: Pair) -> None:
    with Run(probe("drops"), "packets", values={"netns": pair.far.path}, max_entries=4096) as run:
        pair.send(datagram(pair.near, pair.far), count=COUNT)
        run.stop()
        batch = run.read()
    assert batch.accounting.lost["ring_full"] == COUNT - len(batch) > 0
    assert batch.accounting.balanced


def test_no_process_can_be_selected() -> None:
    with pytest.raises(KnobError, match="no process's doing"):
        Run(probe("drops"), selection=Selection(pid=1))


def test_a_namespace_that_is_not_there_is_told() -> None:
    with pytest.raises(KnobError, match="there is no network namespace 'nowhere': No such file"):
        Run(probe("drops"), values={"netns": "nowhere"}).start()


def test_the_workload_is_exact() -> None:
    with Run(probe("drops"), "counts") as run:
        number = workload.run(COUNT)
        run.stop()
        batch = run.read()
    found = [row for row in batch.rows() if row["netns_id"] == number]
    assert [(row["packets"], row["bytes"], row["interface"]) for row in found] == [(COUNT, COUNT * 128, "lo")]
    assert batch.accounting.balanced
