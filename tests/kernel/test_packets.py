"""The probe ``packets`` on the real kernel: every packet is counted once, under what it is, and passes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest

from kernel import network
from sonde.errors import KnobError
from sonde.probe import Selection
from sonde.probes import probe
from sonde.probes.packets.workload import Frame, all_frames
from sonde.records.model import RecordBatch
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]
PACKETS = probe("packets")
COUNT = 97
TAGGED = frozenset({"vlan", "qinq", "tags"})
HOOKS = ("xdp", "tc")


@pytest.fixture
def pair() -> Iterator[network.Pair]:
    with network.pair() as made:
        yield made


def addressed(frame: Frame, pair: network.Pair) -> bytes:
    return pair.far.mac + pair.near.mac + frame.data[12:]


def length_of(frame: Frame, hook: str) -> int:
    """Before TC sees what comes in the kernel has put the outer tag beside the frame."""
    return len(frame.data) - (4 if hook == "tc" and frame.name in TAGGED else 0)


def by_protocol(batch: RecordBatch) -> dict[tuple[str, int | None, str], tuple[int, int]]:
    rows = [
        ((row["direction"], row["ip_version"], row["protocol"]), (row["packets"], row["bytes"]))
        for row in batch.rows()
    ]
    assert len(dict(rows)) == len(rows), "each key has one row"
    return dict(rows)


def expected(direction: str, hook: str) -> dict[tuple[str, int | None, str], tuple[int, int]]:
    packets: Counter[tuple[str, int | None, str]] = Counter()
    size: Counter[tuple[str, int | None, str]] = Counter()
    for frame in all_frames():
        key = (direction, frame.ip_version, frame.protocol)
        packets[key] += COUNT
        size[key] += COUNT * length_of(frame, hook)
    return {key: (packets[key], size[key]) for key in packets}


def run_on(end: network.End, output: str = "protocols", hook: str = "xdp") -> Run:
    return Run(PACKETS, output, selection=Selection(interfaces=(end.interface,)), values={"hook": hook})


@pytest.mark.parametrize("hook", HOOKS)
def test_each_kind_that_comes_in_is_counted(pair: network.Pair, hook: str) -> None:
    """97 frames of each of 34 kinds: packets and bytes by version and protocol, as many as `ip -s link` counts."""
    frames = [addressed(frame, pair) for frame in all_frames()]
    with pair.far.entered(), run_on(pair.far, hook=hook) as run:
        before = pair.far.counters()
        sent = pair.send(*frames, count=COUNT)
        passed = pair.far.counters() - before
        run.stop()
        batch = run.read()

    assert expected("ingress", hook) == by_protocol(batch)
    assert sent == passed.rx_packets == batch.accounting.aggregated
    assert batch.accounting.balanced, str(batch.accounting)
    if hook == "xdp":
        assert passed.rx_packets == sum(row["packets"] for row in batch.rows())


def test_each_kind_that_goes_out_is_counted(pair: network.Pair) -> None:
    """The same frames as they leave: as many, and as many bytes, as `ip -s link` counts, and all arrive."""
    frames = [addressed(frame, pair) for frame in all_frames()]
    with pair.near.entered(), run_on(pair.near) as run:
        before = pair.near.counters()
        pair.send(*frames, count=COUNT)
        passed = pair.near.counters() - before
        run.stop()
        batch = run.read()

    assert expected("egress", "xdp") == by_protocol(batch)
    assert passed.tx_packets == sum(row["packets"] for row in batch.rows())
    assert passed.tx_bytes == sum(row["bytes"] for row in batch.rows())
    assert batch.accounting.balanced, str(batch.accounting)


@pytest.mark.parametrize("hook", HOOKS)
def test_flows_tell_ports_and_flags_of_each_kind(pair: network.Pair, hook: str) -> None:
    """The flows add up to what the table protocols counts, and each has its ports, flags and times."""
    frames = [addressed(frame, pair) for frame in all_frames()]
    with pair.far.entered(), run_on(pair.far, "flows", hook) as run:
        pair.send(*frames, count=COUNT)
        run.stop()
        batch = run.read()

    found: Counter[tuple[int | None, str, tuple[int, int]]] = Counter()
    size: Counter[tuple[str, int | None, str]] = Counter()
    for row in batch.rows():
        ports = (row["source_port"] or 0, row["destination_port"] or 0)
        found[row["ip_version"], row["protocol"], ports] += row["packets"]
        size[row["direction"], row["ip_version"], row["protocol"]] += row["bytes"]
        assert row["first_ns"] <= row["last_ns"]
        assert (row["tcp_flags"] == "SYN,ACK") == (row["protocol"] == "TCP")
        assert (row["source"] is None) == (row["ip_version"] is None or row["protocol"] in UNREAD)
    told = Counter({(each.ip_version, each.protocol, each.ports): 0 for each in all_frames()})
    for each in all_frames():
        told[each.ip_version, each.protocol, each.ports] += COUNT
    assert told == found
    assert {key: total for key, (_, total) in expected("ingress", hook).items()} == size
    assert batch.accounting.balanced, str(batch.accounting)


UNREAD = frozenset({"truncated", "bad_version", "bad_header_length", "too_many_extensions"})
"""Reasons for which addresses are not told, though the version is."""


def test_what_the_kernel_counts_agrees(pair: network.Pair) -> None:
    """Datagrams and echo requests between two ends: nstat of the receiving namespace counts the same."""
    with pair.far.entered(), run_on(pair.far) as run:
        before = pair.far.nstat()
        assert pair.near.ping(pair.far.address, 89) == 89
        after = pair.far.nstat()
        run.stop()
        rows = by_protocol(run.read())

    assert after["IcmpInEchos"] - before["IcmpInEchos"] == 89
    assert rows["ingress", 4, "ICMP"][0] == after["IcmpInMsgs"] - before["IcmpInMsgs"]
    assert rows["egress", 4, "ICMP"][0] == after["IcmpOutMsgs"] - before["IcmpOutMsgs"]


def test_processes_cannot_be_selected() -> None:
    """A packet belongs to an interface; whose it is nobody knows there."""
    with pytest.raises(KnobError, match="interfaces"):
        Run(PACKETS, selection=Selection(pid=1))
