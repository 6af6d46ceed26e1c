"""Rules that are replaced while packets come: each packet meets one set or the other, whole, and nothing is forgotten."""

from __future__ import annotations

import fcntl
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import ip_address

import pytest

from filtering import UDP, frame_of
from kernel import leftovers
from kernel.effort import effort
from kernel.network import DEADLINE_S, Pair
from sonde.errors import AttachError, SondeError
from sonde.filter.clause import TooComplexError
from sonde.filter.expression import Networks
from sonde.filter.filter import Filter
from sonde.filter.installation import Settings
from sonde.filter.packet import Packet
from sonde.filter.parser import parse, read_network
from sonde.filter.rate import read_rate
from sonde.filter.rule import Rule, RuleSet

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000  # linux/if_tun.h

STORM = """
import socket, sys
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
wire.bind((sys.argv[1], 0))
frames = [bytes.fromhex(word) for word in sys.argv[2:]]
print("ready", flush=True)
sys.stdin.readline()
sent = 0
wire.setblocking(False)
import select, time
while not select.select([sys.stdin], [], [], 0.0005)[0]:
    for frame in frames:
        try:
            wire.send(frame)
            sent += 1
        except (BlockingIOError, OSError):
            pass
print(sent, flush=True)
"""


def rules(*pairs: tuple[str, str]) -> RuleSet:
    """Make rules of an action and a condition each."""
    return RuleSet(tuple(Rule(action, parse(condition)) for action, condition in pairs))  # type: ignore[arg-type]


@contextmanager
def filtering(net: Pair, given: RuleSet, settings: Settings | None = None) -> Iterator[Filter]:
    """Filter what arrives at the far end."""
    with net.far.entered():
        made = Filter(net.far.interface, given, settings=settings)
        made.start()
    try:
        yield made
    finally:
        made.close()


def seen_by(filter: Filter) -> int:
    """How many packets it has seen so far."""
    return filter.read().accounting.seen


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def frame(net: Pair, source: str, port: int) -> bytes:
    """A datagram to the far end, from any source."""
    raw = frame_of(Packet(ip_address(source), ip_address(net.far.address), UDP, 4242, port))
    return net.far.mac + net.near.mac + raw[12:]


@contextmanager
def storm(net: Pair, frames: list[bytes]) -> Iterator[subprocess.Popen[str]]:
    """Send frames to the far end, some 20,000 a second, until the end."""
    words = [each.hex() for each in frames]
    process = net.near.popen(
        sys.executable, "-c", STORM, net.near.interface, *words, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == "ready\n"
        process.stdin.write("\n")
        process.stdin.flush()
        yield process
        process.communicate("\n", timeout=DEADLINE_S)
    finally:
        process.kill()
        process.communicate()


def test_no_packet_meets_half_a_set(net: Pair) -> None:
    """Two sets that drop everything, each by rules that alone let something pass: under a storm nothing gets through.

    Had a packet met one set's tables with the other's rules, or no rules for a moment, it would have passed.
    """
    by_port = rules(("drop", "dst port 0-1000"), ("drop", "dst port 1001-65535"))
    by_source = rules(
        ("allow", "udp src 127.0.0.0/8"), ("drop", "src 10.0.0.0/9"), ("drop", "src 10.128.0.0/9")
    )
    frames = [
        frame(net, f"10.{first}.0.{last}", port)
        for first in (1, 200)
        for last in (1, 2)
        for port in (7, 7777)
    ]
    before = net.far.nstat()["IpInReceives"]
    with filtering(net, by_port) as filter:
        sent_before = net.near.counters().tx_packets
        with storm(net, frames * 2):
            for _ in range(effort(41, emulated=3)):
                filter.replace(by_source)
                filter.replace(by_port)
            until(lambda: seen_by(filter) > 1000)
        # What still waits to be received would pass where there is no filter any more.
        sent = net.near.counters().tx_packets - sent_before
        until(lambda: seen_by(filter) >= sent)
        filter.stop()
        accounting = filter.read().accounting
    assert net.far.nstat()["IpInReceives"] == before
    assert accounting.balanced
    assert accounting.seen == sent > 1000
    assert accounting.notes["passed"] == 0
    assert accounting.notes["dropped"] == accounting.seen


def test_a_rule_that_stays_goes_on_counting_and_limiting(net: Pair) -> None:
    """Its counter, and what its buckets have given, outlive the set; what removed rules counted is kept in a row."""
    limit = Rule("rate-limit", parse("dst port 53"), read_rate("1/h burst 5"))
    old, new = (Rule("drop", parse(f"dst port {port}")) for port in (7, 9))
    dns, seven, nine = (frame(net, "10.0.0.9", port) for port in (53, 7, 9))
    with filtering(net, RuleSet((limit, old))) as filter:
        net.send(dns, count=3)
        net.send(seven, count=11)
        replaced = filter.replace(RuleSet((new, limit)))
        assert (replaced.kept, replaced.added, replaced.removed) == (1, 1, 1)
        net.send(dns, count=4)
        net.send(seven, nine, count=2)
        filter.stop()
        batch = filter.read()
    found = {row["match"]: (row["rule"], row["packets"], row["dropped"]) for row in batch.rows()}
    assert found == {
        "dst port 9": (1, 2, 2),
        "dst port 53": (2, 7, 2),
        "(no rule)": (None, 2, 0),
        "(rules that were removed)": (None, 11, 11),
    }
    assert batch.accounting.balanced


def test_more_rules_than_there_was_room_for(net: Pair) -> None:
    """From one rule to some thousands and back: counters move to a larger map, and none forgets what it has counted."""
    one = Rule("drop", parse("src 10.0.0.1"))
    many = [Rule("drop", Networks("src", (read_network(f"10.1.{n // 250}.{n % 250}"),))) for n in range(3001)]
    with filtering(net, RuleSet((one,))) as filter:
        net.send(frame(net, "10.0.0.1", 1), count=5)
        filter.replace(RuleSet((*many, one)))
        net.send(frame(net, "10.0.0.1", 1), frame(net, "10.1.12.0", 1), count=7)
        filter.replace(RuleSet((one,)))
        net.send(frame(net, "10.0.0.1", 1), count=2)
        filter.stop()
        batch = filter.read()
    found = {row["match"]: row["packets"] for row in batch.rows() if row["packets"]}
    assert found == {"src 10.0.0.1": 14, "(rules that were removed)": 7}
    assert batch.accounting.balanced


def test_rules_that_cannot_be_installed_leave_the_old_ones(net: Pair) -> None:
    with filtering(net, rules(("drop", "dst port 7"))) as filter:
        with pytest.raises(TooComplexError):
            filter.replace(RuleSet(tuple(Rule("drop", parse(f"dst port {port}")) for port in range(2000))))
        net.send(frame(net, "10.0.0.1", 7), count=3)
        filter.stop()
        assert [row["dropped"] for row in filter.read().rows()] == [3, 0]


def test_what_comes_out_of_a_tun_is_filtered(net: Pair) -> None:
    """Its frames begin with IP's header: taken for Ethernet's, nothing would ever meet a rule."""
    with net.far.entered(), ExitStack() as stack:
        try:
            # It belongs to the namespace that it is opened in.
            device = stack.enter_context(open("/dev/net/tun", "wb", buffering=0))
        except OSError as error:
            pytest.skip(f"/dev/net/tun cannot be opened: {os.strerror(error.errno or 0)}")
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH22x", b"tun0", IFF_TUN | IFF_NO_PI))
        net.far.ip("link set tun0 up")
        with Filter("tun0", rules(("drop", "udp dst port 7"))) as filter:
            device.writelines(frame(net, "10.0.0.1", port)[14:] for port in (7, 9, 7))
            until(lambda: seen_by(filter) >= 3)
            mode = filter.mode
            filter.stop()
            batch = filter.read()
    assert mode == "generic"
    assert [(row["match"], row["packets"], row["dropped"]) for row in batch.rows()] == [
        ("udp and dst port 7", 2, 2),
        ("(no rule)", 1, 0),
    ]


def test_nothing_is_left_in_the_kernel(net: Pair) -> None:
    """After replacements and the end: no program, no link, no map of any set."""
    with filtering(net, rules(("drop", "dst port 7"))) as filter:
        link = filter.link.id
        assert link is not None
        ids = []
        for port in range(3):
            ids.append(("prog", filter.link.program.id))
            ids += [("map", map.id) for map in filter.loaded.maps.values()]
            filter.replace(rules(("drop", f"dst port {port}")))
    for kind, number in [("link", link), *ids]:
        leftovers.wait_until_gone(kind, number)


def test_a_second_filter_is_told_who_is_there(net: Pair) -> None:
    second = Filter(net.far.interface, rules(("drop", "udp")))
    is_there = pytest.raises(AttachError, match="another XDP program is attached there")
    with filtering(net, rules(("drop", "tcp"))), net.far.entered(), is_there:
        second.start()
    with pytest.raises(SondeError, match="it was not started"):
        second.read()
