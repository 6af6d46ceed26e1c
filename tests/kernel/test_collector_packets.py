"""The document's collector, section 1.3.4: packets by protocol, by its own program or by sonde's probe."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kernel.hook_objects import Require
from kernel.network import Pair, frame, joined, pair
from kernel.plain import example
from sonde import Collector
from sonde.errors import AttachError, SondeError

ARP = 0x0806


@pytest.fixture
def ends(require_feature: Require) -> Iterator[Pair]:
    """The calling thread is in the namespace of the near end."""
    require_feature("xdp")
    with pair() as made, made.near.entered():
        yield made


def test_the_document_s_program_counts_what_an_interface_receives(ends: Pair) -> None:
    other = joined(ends, "other0", "other1")
    with Collector() as collector:
        collector.load(example("network_monitor"))
        collector.monitor_packets("sonde0")
        assert ends.near.ping(ends.far.address, 31) == 31
        assert ends.near.ping(ends.far.address6, 17) == 17
        other.send(frame(other.far, other.near, ARP, b"sonde"), count=5, sender=other.far)
        assert {"ICMP": 31, "IPv6-ICMP": 17} == collector.packet_stats()
        # An ICMP request of 16 bytes above IPv4, and above IPv6, behind 14 of Ethernet.
        assert {"ICMP": 31 * 50, "IPv6-ICMP": 17 * 70} == collector.packet_stats(of="bytes")
        assert {} == collector.packet_stats(direction="egress")
        collector.monitor_packets("other0", "sonde0")
        assert ends.near.ping(ends.far.address, 1) == 1
        assert 32 == collector.packet_stats()["ICMP"]
        shown = ends.near.run("ip", "link", "show")
        assert 2 == shown.count("prog/xdp")
    assert "prog/xdp" not in ends.near.run("ip", "link", "show")


def test_without_an_object_sonde_s_own_probe_counts_both_ways(ends: Pair) -> None:
    with Collector() as collector:
        collector.monitor_packets("sonde0")
        assert ends.near.ping(ends.far.address, 31) == 31
        ends.send(frame(ends.far, ends.near, ARP, b"sonde"), count=7, sender=ends.far)
        assert {"ICMP": 62, "ARP": 7} == collector.packet_stats()
        assert {"ICMP": 31, "ARP": 7} == collector.packet_stats(direction="ingress")
        assert {"ICMP": 31 * 50, "ARP": 7 * 60} == collector.packet_stats(of="bytes", direction="ingress")
        collector.monitor_packets("lo")
        assert {} == collector.packet_stats(), "of the new interfaces, from then on"
    assert "prog/xdp" not in ends.near.run("ip", "link", "show")


def test_what_cannot_be_monitored_is_said_and_what_was_goes_on(ends: Pair) -> None:
    with Collector() as collector:
        for way in ("ingress", "egress", None):
            with pytest.raises(SondeError, match=r"nothing is monitored: call monitor_packets\(\)"):
                collector.packet_stats(direction=way)
        for prepare in (lambda: None, lambda: collector.load(example("network_monitor"))):
            prepare()
            collector.monitor_packets("sonde0")
            with pytest.raises(AttachError, match=r"no network interface sonde7 .*did you mean sonde0"):
                collector.monitor_packets("sonde7")
            assert ends.near.ping(ends.far.address, 3) == 3
            assert 3 == collector.packet_stats(direction="ingress")["ICMP"]
    with Collector() as collector:
        collector.load(example("trace_syscall"))
        with pytest.raises(SondeError, match=r"no map packet_count: call monitor_packets"):
            collector.packet_stats()
