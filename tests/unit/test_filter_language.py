"""The language of conditions: what they mean, how they are written back, and what is said of those that are wrong."""

from __future__ import annotations

import random
import re
from ipaddress import ip_address

import pytest

from filtering import TCP, UDP, Maker
from sonde.filter.packet import TCP_FLAGS, Packet
from sonde.filter.parser import ExpressionError, parse, words
from sonde.filter.rate import Bucket, read_rate

SYN = Packet(ip_address("10.1.2.3"), ip_address("192.0.2.1"), TCP, 40000, 22, TCP_FLAGS["syn"])
DNS6 = Packet(ip_address("2001:db8::1"), ip_address("2001:db8::53"), UDP, 5353, 53, vlan=100)
LATER = Packet(ip_address("10.1.2.3"), ip_address("10.2.0.1"), UDP, is_fragment=True)
PACKETS = {"syn": SYN, "dns6": DNS6, "later": LATER}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("src 10.0.0.0/8 and tcp dst port 22", {"syn"}),
        ("src 10.0.0.0/8", {"syn", "later"}),
        ("10.2.0.0/16", {"later"}),
        ("host 10.2.0.1 or dst net 192.0.2.0/24", {"syn", "later"}),
        ("2001:db8::/32", {"dns6"}),
        ("src 10.1.2.3,2001:db8::1", {"syn", "later", "dns6"}),
        ("not src 10.0.0.0/8", {"dns6"}),
        ("tcp", {"syn"}),
        ("proto 17", {"dns6", "later"}),
        ("proto tcp, 17", {"syn", "dns6", "later"}),
        ("port 53", {"dns6"}),
        ("udp src port 5000-6000,9", {"dns6"}),
        ("portrange 1-30", {"syn"}),
        # A later fragment has no ports: nothing is said of them, and the negation holds.
        ("udp and not port 53", {"later"}),
        ("fragment", {"later"}),
        ("syn and not ack", {"syn"}),
        ("syn && !ack", {"syn"}),
        ("not syn", {"dns6", "later"}),
        ("vlan", {"dns6"}),
        ("vlan 1,90-110", {"dns6"}),
        ("vlan 7", set()),
        ("ip6", {"dns6"}),
        ("ip and udp", {"later"}),
        ("ip src 10.1.2.3", {"syn", "later"}),
        ("(tcp or udp) and not ip6", {"syn", "later"}),
        ("tcp or udp and ip6", {"syn", "dns6"}),
        ("NOT (TCP || UDP)", set()),
    ],
)
def test_what_a_condition_means(text: str, expected: set[str]) -> None:
    condition = parse(text)
    assert expected == {name for name, packet in PACKETS.items() if condition.holds(packet)}


@pytest.mark.parametrize(
    ("text", "column", "why"),
    [
        ("", 1, "there is no condition: give one, as 'src 10.0.0.0/8'"),
        ("src 10.0.0.0/8 and tpc dst port 22", 20, "'tpc': no condition begins like this: did you mean tcp?"),
        ("src", 4, "it ends too early: an address or a network belongs here, as 10.0.0.0/8 or 2001:db8::1"),
        ("src 10.1.2.3/8", 5, "'10.1.2.3/8': it has bits set behind its prefix: write 10.0.0.0/8"),
        ("src ::ffff:10.1.2.3", 5, "'::ffff:10.1.2.3': only sockets show IPv4 so, packets of it are IPv4's: write 10.1.2.3"),
        ("dst ::ffff:10.0.0.0/104", 5, "'::ffff:10.0.0.0/104': only sockets show IPv4 so, packets of it are IPv4's: write 10.0.0.0/8"),
        ("src 10.0.0.0/8, and tcp", 17, "'and': an address or a network belongs here, as 10.0.0.0/8 or 2001:db8::1"),
        ("tcp dst port ssh", 14, "'ssh': a port belongs here, a number from 0 to 65535"),
        ("tcp dst port 65536", 14, "'65536': a port belongs here, a number from 0 to 65535"),
        ("port 80-22", 6, "'80-22': a range goes up: 22-80"),
        ("icmp port 3", 6, "'port': protocol icmp has no ports"),
        ("vlan 4096", 6, "'4096': a VLAN identifier belongs here, a number from 0 to 4095"),
        ("proto 256", 7, "'256': a protocol belongs here, a number from 0 to 255"),
        ("tcp udp", 5, "'udp': and, or, or the end belongs here"),
        ("tcp)", 4, "')': and, or, or the end belongs here"),
        ("(tcp", 5, "it ends too early: a closing bracket belongs here"),
        ("tcp and", 8, "it ends too early: a condition belongs here"),
        ("port ٣", 6, "'٣': a port belongs here, a number from 0 to 65535"),
        ("\x1b[31m", 1, r"'\x1b[31m': no condition begins like this"),
    ],
)  # fmt: skip
def test_an_error_points_at_the_word(text: str, column: int, why: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        parse(text)
    assert str(caught.value) == f"character {column}: {why}"
    assert caught.value.column == column


def test_what_is_written_back_means_the_same() -> None:
    """A condition as a person sees it can be read again, where its lists are short enough to be written out."""
    maker = Maker(2027)
    read = 0
    for _ in range(2003):
        condition = maker.expression()
        text = str(condition)
        if "…" in text:
            continue
        read += 1
        again = parse(text)
        packets = [maker.packet() for _ in range(20)]
        assert [condition.holds(each) for each in packets] == [again.holds(each) for each in packets], text
    assert read > 500


def error_of(text: str) -> ExpressionError | None:
    try:
        parse(text)
    except ExpressionError as error:
        return error
    return None


def test_words_by_chance_give_a_condition_or_one_sentence() -> None:
    """Nothing but an ExpressionError ever comes of a text, and it names a place in it."""
    chosen = random.Random(2029)
    pieces = [*words(), "10.0.0.0/8", "::1", "22", "1-3", "(", ")", ",", "!", "&&", "||", "&", "\0", "é", "-", "/", "'", "99999999999999"]  # fmt: skip
    good = 0
    for _ in range(5003):
        text = " ".join(chosen.choice(pieces) for _ in range(chosen.randrange(9)))
        error = error_of(text)
        good += error is None
        if error is not None:
            assert 1 <= error.column <= len(text) + 1
            assert str(error).isprintable()
    assert good > 50


def test_depth_and_length_are_bounded() -> None:
    with pytest.raises(ExpressionError, match="nested more than 50 deep"):
        parse("(" * 100_000 + "tcp")
    with pytest.raises(ExpressionError, match="nested more than 50 deep"):
        parse("not " * 51 + "tcp")
    with pytest.raises(ExpressionError, match="longer than 1,048,576 characters"):
        parse("tcp or " * 200_000)


@pytest.mark.parametrize(
    ("text", "packets", "size"),
    [
        ("100/s", Bucket(100, 10**9, 100), None),
        ("6/m", Bucket(6, 60 * 10**9, 1), None),
        ("10/m burst 7", Bucket(10, 60 * 10**9, 7), None),
        ("1MB/s", None, Bucket(10**6, 10**9, 10**6)),
        ("1kB/s", None, Bucket(1000, 10**9, 9216)),
        ("100/s burst 200, 1MiB/s burst 2MB", Bucket(100, 10**9, 200), Bucket(1 << 20, 10**9, 2 * 10**6)),
    ],
)
def test_what_a_rate_means(text: str, packets: Bucket | None, size: Bucket | None) -> None:
    rate = read_rate(text)
    assert (packets, size) == (rate.packets, rate.bytes)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("fast", "'fast' is no rate: give '100/s', '1MB/s' or '100/s burst 200'"),
        ("100", "'100' is no rate: give '100/s', '1MB/s' or '100/s burst 200'"),
        ("0/s", "'0/s' cannot be"),
        ("1/s burst 0", "'1/s burst 0' cannot be"),
        ("1/d", "a period is s, m, h"),
        ("1XB/s", "there is no unit 'xb'"),
        ("1/s burst 1MB", "rate and burst are both packets or both bytes"),
        ("1/s, 2/s", "has two rates of packets"),
        ("1/h burst 9999999999999", "a burst is 1,281,023 at most"),
    ],
)
def test_a_rate_that_cannot_be(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        read_rate(text)
