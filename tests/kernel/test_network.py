"""The pair of namespaces that the network's tests stand on: exact, quiet, and gone afterwards."""

from __future__ import annotations

import gc
import os
import socket
import time

import pytest

from kernel import network


def test_so_many_frames_leave_and_arrive() -> None:
    with network.pair() as pair:
        frame = network.frame(pair.near, pair.far, 0x88B5, b"sonde")
        assert pair.send(frame, frame, count=1009) == 2018
        sent, received = pair.near.counters(), pair.far.counters()
        assert pair.far.received() == 2018
    assert (sent.tx_packets, sent.tx_bytes) == (received.rx_packets, received.rx_bytes) == (2018, 2018 * 60)
    assert (sent.rx_packets, received.tx_packets) == (0, 0)


def test_nothing_passes_that_nobody_sends() -> None:
    """Not while IPv6 comes up, and not when a namespace becomes a router."""
    with network.pair() as pair:
        pair.far.sysctl("ipv4.ip_forward", 1)
        if network.has_ipv6():
            pair.far.sysctl("ipv6.conf.all.forwarding", 1)
        time.sleep(1)
        for end in (pair.near, pair.far):
            assert end.counters() == network.Counters(0, 0, 0, 0, 0, 0, 0, 0)
            assert not any(count for name, count in end.nstat().items() if "Pkts" not in name)


def test_both_versions_of_ip_answer() -> None:
    with network.pair() as pair:
        assert pair.near.ping(pair.far.address, 3) == 3
        assert pair.far.nstat()["IcmpInEchos"] == 3
        if network.has_ipv6():
            assert pair.near.ping(pair.far.address6, 5) == 5
            assert pair.far.nstat()["Icmp6InEchos"] == 5


def _fail_inside(outside: int) -> None:
    with network.pair() as pair, pair.near.entered():
        assert os.stat(network.HERE).st_ino == pair.near.inode != outside
        assert socket.if_nametoindex(pair.near.interface) == pair.near.index
        raise ZeroDivisionError


def test_all_is_gone_after_a_failure() -> None:
    """The thread is where it was, and no descriptor holds a namespace."""
    gc.collect()
    before, descriptors = os.stat(network.HERE).st_ino, set(os.listdir("/proc/self/fd"))
    with pytest.raises(ZeroDivisionError):
        _fail_inside(before)
    assert os.stat(network.HERE).st_ino == before
    assert set(os.listdir("/proc/self/fd")) == descriptors


def test_code_runs_inside() -> None:
    with network.pair() as pair:
        told = pair.far.python("import socket; print([name for _, name in socket.if_nameindex()])")
        assert told.strip() == str(["lo", pair.far.interface])
