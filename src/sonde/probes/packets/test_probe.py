"""The probe ``packets`` on frames of each kind, by test runs: what it is called, what it adds up to, and that it passes."""

from __future__ import annotations

import os
import struct
import threading
from collections import Counter

import pytest

from sonde.probes.packets.measured import loaded, passed
from sonde.probes.packets.workload import all_frames

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]
WAYS = ("xdp", "ingress", "egress")
REPEAT = 10_007


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("output", ["protocols", "flows"])
def test_each_kind_has_its_name(output: str, way: str) -> None:
    """34 frames, one of each kind, are told by version and protocol, and all of them pass."""
    frames = {frame.data: frame for frame in all_frames()}
    with loaded(output) as (made, reading):
        ran = passed(made, f"{output}_{way}", frames)
        batch = reading.read()

    told = Counter((frames[data].ip_version, frames[data].protocol) for data in ran)
    size: Counter[tuple[int | None, str]] = Counter()
    for data in ran:
        size[frames[data].ip_version, frames[data].protocol] += len(data)
    found: Counter[tuple[int | None, str]] = Counter()
    bytes_found: Counter[tuple[int | None, str]] = Counter()
    for row in batch.rows():
        assert row["direction"] == ("egress" if way == "egress" else "ingress")
        found[row["ip_version"], row["protocol"]] += row["packets"]
        bytes_found[row["ip_version"], row["protocol"]] += row["bytes"]
    assert told == found
    assert size == bytes_found
    assert len(ran) >= len(frames) - (0 if way == "xdp" else 2)
    assert batch.accounting.balanced, str(batch.accounting)


@pytest.mark.parametrize("output", ["protocols", "flows"])
def test_two_cpus_lose_nothing(output: str) -> None:
    """A thread on each of two CPUs, 10,007 runs for each kind of frame: every one is counted."""
    kinds = [frame.data for frame in all_frames()]
    cpus = sorted(os.sched_getaffinity(0))[:2]
    failures: list[BaseException] = []
    with loaded(output) as (made, reading):

        def run(cpu: int) -> None:
            try:
                os.sched_setaffinity(0, {cpu})
                for data in kinds:
                    made.programs[f"{output}_xdp"].test_run(data, repeat=REPEAT)
            except BaseException as error:  # noqa: BLE001 - handed to the test's thread
                failures.append(error)

        threads = [threading.Thread(target=run, args=(cpu,)) for cpu in cpus]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        batch = reading.read()

    assert not failures
    total = len(cpus) * REPEAT * len(kinds)
    assert total == batch.accounting.seen == sum(row["packets"] for row in batch.rows())
    assert sum(row["bytes"] for row in batch.rows()) == len(cpus) * REPEAT * sum(map(len, kinds))


@pytest.mark.parametrize(("segments", "size"), [(7, 100), (0, 100)])
@pytest.mark.parametrize("way", ["ingress", "egress"])
def test_segments_are_packets(way: str, segments: int, size: int) -> None:
    """A packet of seven segments is seven packets with seven headers; where their number is not told it is worked out."""
    from sonde.probes.packets.workload import IPV4, TCP, frame, ipv4, tcp

    data = frame(IPV4, ipv4(TCP, tcp() + bytes(700)))
    for output in ("protocols", "flows"):
        with loaded(output) as (made, reading):
            passed(made, f"{output}_{way}", [data], context=gso_context(segments, size))
            (row,) = reading.read().rows()
        assert (row["packets"], row["bytes"]) == (7, 7 * 54 + 700)


@pytest.mark.parametrize("output", ["protocols", "flows"])
def test_segments_of_a_tunnel_have_the_inner_headers_too(output: str) -> None:
    """What the kernel says that seven segments in a tunnel take on the wire is more than the outer headers, and counts."""
    from sonde.probes.packets.workload import IPV4, UDP, VXLAN_PORT, frame, ipv4, tcp, udp

    inner = struct.pack("!II", 0x08000000, 42 << 8) + frame(IPV4, ipv4(6, tcp() + bytes(700)))
    data = frame(IPV4, ipv4(UDP, udp(40013, VXLAN_PORT, inner)))
    wire_bytes = 7 * (len(data) - 700) + 700
    with loaded(output) as (made, reading):
        passed(made, f"{output}_egress", [data], context=gso_context(7, 100, wire_bytes))
        (row,) = reading.read().rows()
    assert (row["packets"], row["bytes"]) == (7, wire_bytes)


def gso_context(segments: int, size: int, wire_bytes: int = 0) -> bytes:
    """Write a struct __sk_buff whose wire_len, gso_segs and gso_size are set: bytes 160, 164 and 176."""
    made = bytearray(192)
    for at, number in ((160, wire_bytes), (164, segments), (176, size)):
        made[at : at + 4] = number.to_bytes(4, "little")
    return bytes(made)
