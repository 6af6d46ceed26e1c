"""The filter's program in the kernel: what it does with a packet is what the rules say, and its buckets hold."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, ip_address, ip_network

import pytest

from filtering import TCP, UDP, Maker, frame_of
from kernel.effort import effort
from sonde.bpf.object import Object
from sonde.bpf.program import Program
from sonde.filter import buckets
from sonde.filter.compiled import compile_rules
from sonde.filter.counts import Count, Counts
from sonde.filter.expression import Networks
from sonde.filter.installation import (
    FIRST_RULE,
    NOT_IP,
    PROGRAM,
    UNPARSED,
    Handed,
    Settings,
    install,
    reasons,
)
from sonde.filter.packet import Packet
from sonde.filter.parser import parse
from sonde.filter.rate import read_rate
from sonde.filter.rule import Rule, RuleSet

pytestmark = pytest.mark.beside

XDP_DROP, XDP_PASS = 1, 2
HOME = ip_address("192.0.2.1")


@pytest.fixture(autouse=True)
def xdp(require_feature: object) -> None:
    require_feature("xdp")  # type: ignore[operator]


@contextmanager
def installed(
    rules: RuleSet, settings: Settings | None = None, *, has_ethernet: bool = True
) -> Iterator[Object]:
    """Put rules into the kernel; the n-th rule counts in slot FIRST_RULE + n."""
    slots = range(FIRST_RULE, FIRST_RULE + len(rules))
    settings = settings or Settings()
    with install(rules, compile_rules(rules), slots, settings, Handed(slots.stop, has_ethernet)) as loaded:
        rates = {slot: rule.rate for slot, rule in zip(slots, rules.rules, strict=True) if rule.rate}
        buckets.add_shared(loaded.maps["buckets"], rates)
        yield loaded


def program_of(loaded: Object) -> Program:
    return loaded.programs[PROGRAM]


def counted(loaded: Object) -> dict[int, Count]:
    """Give the counters by slot, those that are not zero."""
    figures = Counts(loaded.maps["counters"], loaded.maps["seen"]).read()
    return {slot: Count(*map(int, row)) for slot, row in enumerate(figures) if row.any()}


def dropped(program: Program, frame: bytes, times: int = 1) -> int:
    """Let packets come, one call for each; the number that were dropped."""
    return sum(program.test_run(frame).return_value == XDP_DROP for _ in range(times))


def udp(source: str, *, size: int = 5, port: int = 53) -> bytes:
    return frame_of(Packet(ip_address(source), HOME, UDP, 4242, port), payload=bytes(size))


def test_rules_by_chance_do_in_the_kernel_what_they_say() -> None:
    """Hundreds of sets of rules, each against random packets: verdict and counter of every one are exact."""
    seen = Counter[int]()
    for seed in range(effort(199, emulated=7)):
        maker = Maker(1_000_000 + seed)
        rules = maker.rules()
        with installed(rules) as loaded:
            program, expected = program_of(loaded), Counter[int]()
            for _ in range(41):
                packet = maker.packet()
                first = rules.first_match(packet)
                is_drop = first is not None and rules.rules[first].action == "drop"
                verdict = program.test_run(frame_of(packet)).return_value
                assert verdict == (XDP_DROP if is_drop else XDP_PASS), (seed, packet)
                expected[0 if first is None else FIRST_RULE + first] += 1
                seen[verdict] += 1
            assert {slot: count.packets for slot, count in counted(loaded).items()} == dict(expected)
            assert Counts(loaded.maps["counters"], loaded.maps["seen"]).seen_packets() == 41
    assert min(seen[XDP_DROP], seen[XDP_PASS]) > 40


@pytest.mark.parametrize("rules_count", [64, 65, 1024])
def test_the_last_of_many_rules_is_found(rules_count: int) -> None:
    """One word of clauses that is full, one bit more, and as many as there may be."""
    rules = RuleSet(tuple(Rule("drop", parse(f"udp dst port {number}")) for number in range(rules_count)))
    with installed(rules) as loaded:
        program = program_of(loaded)
        for port in {0, 63, rules_count - 1}:
            assert dropped(program, udp("10.0.0.1", port=port)) == 1
        assert dropped(program, udp("10.0.0.1", port=rules_count)) == 0
        assert counted(loaded)[FIRST_RULE + rules_count - 1].packets == 1


def test_ten_thousand_rules_of_a_network_each_count_for_themselves() -> None:
    """The action may differ from rule to rule, and so may what covers what: the first one counts."""
    networks = [ip_network((int(IPv4Address("10.0.0.0")) + number * 256, 24)) for number in range(10_007)]
    narrow = [
        Rule("drop" if number % 3 else "allow", Networks("src", (network,)))
        for number, network in enumerate(networks)
    ]
    rules = RuleSet((*narrow, Rule("drop", Networks("src", (ip_network("10.0.0.0/8"),)))))
    with installed(rules) as loaded:
        program = program_of(loaded)
        for number in (0, 1, 5003, 9999, 10_006):
            source = str(networks[number][77])
            assert dropped(program, udp(source)) == (1 if number % 3 else 0)
            assert counted(loaded)[FIRST_RULE + number].packets == 1
        assert dropped(program, udp("10.200.0.1")) == 1
        assert counted(loaded)[FIRST_RULE + 10_007].packets == 1


def test_rules_that_cannot_be_met_are_not_met() -> None:
    """Nothing is both; and a rule of everything is met by all."""
    with installed(RuleSet((Rule("drop", parse("tcp and not tcp")),))) as loaded:
        assert dropped(program_of(loaded), udp("10.0.0.1"), 3) == 0
        assert counted(loaded)[0].packets == 3
    with installed(RuleSet((Rule("drop", parse("ip6 or not ip6")),))) as loaded:
        assert dropped(program_of(loaded), udp("10.0.0.1"), 3) == 3


def test_what_is_not_ip_or_cannot_be_read_passes_and_is_counted() -> None:
    everything = RuleSet((Rule("drop", parse("ip or ip6")),))
    arp, short = bytes(12) + b"\x08\x06" + bytes(46), bytes(12) + b"\x08\x00" + b"\x45" + bytes(5)
    with installed(everything) as loaded:
        assert dropped(program_of(loaded), arp, 3) == dropped(program_of(loaded), short, 5) == 0
        truncated = UNPARSED + reasons(loaded).index("truncated")
        assert {slot: count.packets for slot, count in counted(loaded).items()} == {NOT_IP: 3, truncated: 5}
    with installed(everything, Settings(drops_unparsed=True)) as loaded:
        assert dropped(program_of(loaded), arp, 3) == 0
        assert dropped(program_of(loaded), short, 5) == 5


def test_a_dry_run_drops_nothing_and_counts_the_same() -> None:
    rules = RuleSet((Rule("drop", parse("udp")),))
    frame = udp("10.0.0.1")
    with installed(rules, Settings(is_dry_run=True)) as loaded:
        assert dropped(program_of(loaded), frame, 7) == 0
        assert counted(loaded) == {FIRST_RULE: Count(7, 7 * len(frame), 7, 7 * len(frame), 0)}


def test_frames_without_ethernet_headers_begin_with_ip() -> None:
    """As those of tun and WireGuard: the version is in the first four bits."""
    rules = RuleSet((Rule("drop", parse("udp dst port 53 and src 10.0.0.1,2001:db8::1")),))
    six = frame_of(Packet(ip_address("2001:db8::1"), ip_address("2001:db8::2"), UDP, 4242, 53))
    with installed(rules, has_ethernet=False) as loaded:
        program = program_of(loaded)
        assert dropped(program, udp("10.0.0.1")[14:]) == dropped(program, six[14:]) == 1
        assert dropped(program, udp("10.0.0.2")[14:]) == dropped(program, bytes(60)) == 0
        assert {slot: count.packets for slot, count in counted(loaded).items()} == {
            FIRST_RULE: 2,
            0: 1,
            NOT_IP: 1,
        }


# ---- rates ----------------------------------------------------------------------------------------------------


def limited(rate: str, condition: str = "udp") -> RuleSet:
    return RuleSet((Rule("rate-limit", parse(condition), read_rate(rate)),))


def test_each_source_has_its_burst_and_no_more() -> None:
    """At one packet an hour a burst is all that there is: exactly so many pass, of either version of IP."""
    with installed(limited("1/h burst 11")) as loaded:
        program = program_of(loaded)
        for source in ("10.0.0.1", "10.0.0.2"):
            assert dropped(program, udp(source), 31) == 20
        six = frame_of(Packet(ip_address("2001:db8::1"), ip_address("2001:db8::2"), UDP, 1, 2))
        assert dropped(program, six, 31) == 20
        assert counted(loaded)[FIRST_RULE][::2] == (93, 60, 0)


def test_a_rate_of_bytes_counts_bytes() -> None:
    """A burst of ten frames' bytes passes ten; a smaller frame still finds room where a larger one does not."""
    large, small = udp("10.0.0.1", size=500), udp("10.0.0.1", size=1)
    burst = 10 * len(large) + len(small)
    with installed(limited(f"1B/h burst {burst}B")) as loaded:
        program = program_of(loaded)
        assert dropped(program, large, 13) == 3
        assert dropped(program, small, 3) == 2


def test_both_rates_hold_and_what_one_refuses_costs_the_other_nothing() -> None:
    frame = udp("10.0.0.1", size=1000)
    with installed(limited(f"1/h burst 5, 1B/h burst {3 * len(frame)}B")) as loaded:
        program = program_of(loaded)
        assert dropped(program, frame, 9) == 6
        # Two of five packets are left, and no bytes: a bucket that had paid for the dropped ones would be empty.
        ((_, bucket),) = [pair for pair in loaded.maps["buckets"].items() if pair[0].ip_version == 4]
        assert bucket.packets // (3600 * 10**9) == 2


def test_a_bucket_fills_as_time_goes_by() -> None:
    """Over a measured time no more passes than burst plus rate times time, and no less than the rate alone brings."""
    rate, burst, frame = 1000, 10, udp("10.0.0.1")
    with installed(limited(f"{rate}/s burst {burst}")) as loaded:
        program, sent, lost = program_of(loaded), 0, 0
        first = time.monotonic_ns()
        lost += dropped(program, frame)
        after_first = time.monotonic_ns()
        sent += 1
        while time.monotonic_ns() - first < 300_000_000:
            lost += dropped(program, frame, 50)
            sent += 50
        before_last = time.monotonic_ns()
        lost += dropped(program, frame)
        last = time.monotonic_ns()
        passed = sent + 1 - lost
    assert passed <= burst + rate * (last - first) / 1e9
    # Had the loop paused, what came beyond a full bucket was lost; it is polled far more often than that here.
    if sent > 1000:
        assert passed >= min(burst, rate * (before_last - after_first) / 1e9 / 2)


def test_a_bucket_gives_no_more_where_processors_compete_for_it() -> None:
    """Two threads, each with a processor's worth of packets of one source: exactly the burst passes."""
    burst, each = effort(400_009, emulated=20_011), effort(300_007, emulated=15_013)
    with installed(limited(f"1/h burst {burst}")) as loaded:
        program, frame = program_of(loaded), udp("10.0.0.1")
        threads = [
            threading.Thread(target=program.test_run, args=(frame,), kwargs={"repeat": each})
            for _ in range(2)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        found = counted(loaded)[FIRST_RULE]
    assert (found.packets, found.packets - found.dropped) == (2 * each, burst)


def test_sources_beyond_the_room_share_one_bucket() -> None:
    """The shared one has a burst of its own, so nobody gets round a limit with many addresses; it is counted."""
    with installed(limited("1/h burst 3"), Settings(sources_max=8)) as loaded:
        program = program_of(loaded)
        # One is the shared one's: seven sources have room.
        for number in range(1, 8):
            assert dropped(program, udp(f"10.0.0.{number}"), 5) == 2
        others = [dropped(program, udp(f"10.0.1.{number}"), 1) for number in range(1, 12)]
        assert sum(others) == 8
        assert counted(loaded)[FIRST_RULE].shared_bucket == 11


def test_buckets_that_are_full_again_make_room() -> None:
    """They go one second after they have filled up; younger ones, and the shared one, stay."""
    rules = limited("1/h burst 1")
    rate = rules.rules[0].rate
    assert rate is not None
    with installed(rules, Settings(sources_max=64)) as loaded:
        program, found = program_of(loaded), loaded.maps["buckets"]
        for number in range(23):
            dropped(program, udp(f"10.0.0.{number}"))
        moment = max(bucket.last_ns for bucket in found.values())
        for number in range(17):
            dropped(program, udp(f"10.0.1.{number}"))
        filled = moment + 3601 * 10**9
        buckets.sweep(found, {FIRST_RULE: rate}, filled)
        # The youngest of the first ones is not yet a second older than it has to be.
        assert len(found) == 17 + 1 + 1
        buckets.sweep(found, {FIRST_RULE: rate}, filled + 1)
        assert len(found) == 19, "there is room enough, so nothing is swept"


def test_flags_and_ports_of_a_later_fragment_are_not_read() -> None:
    """What stands there is data: a rule of ports must not be met by it, nor its negation be passed by."""
    later = Packet(ip_address("10.0.0.1"), HOME, TCP, is_fragment=True)
    first = Packet(ip_address("10.0.0.1"), HOME, TCP, 1, 22, 2, is_fragment=True)
    for text, expected in (("dst port 22", 0), ("syn", 0), ("not dst port 22", 1), ("tcp and fragment", 1)):
        with installed(RuleSet((Rule("drop", parse(text)),))) as loaded:
            assert dropped(program_of(loaded), frame_of(later)) == expected, text
    with installed(RuleSet((Rule("drop", parse("dst port 22 and fragment")),))) as loaded:
        assert dropped(program_of(loaded), frame_of(first)) == 1
