"""The parser of frames against dpkt: what scapy made, what was done to it, and what nobody meant."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sonde.bpf import Object, ObjectSpec
from sonde.errors import KernelError
from sonde.probes.packets.measured import loaded, passed
from sonde.probes.packets.workload import all_frames

dissection = pytest.importorskip("kernel.dissection", reason="dpkt is not installed: make setup")
# A virtual machine has neither dpkt nor scapy; what it is asked is in the probe's own tests.
pytestmark = [pytest.mark.beside, pytest.mark.host_only]

FRAMES = 100_003
PROGRAMS = ("parse_xdp", "parse_skb", "parse_paged")
LAYOUT = struct.Struct("<16s16sHHH2HHHBBBBB???BBB7x")
NAMES = (
    *("source", "destination", "network_offset", "transport_offset", "ethertype", "tag", "tag_inner"),
    *("source_port", "destination_port", "tags_count", "ip_version", "protocol", "fragment", "reason"),
    *("has_ports", "has_icmp", "has_tcp_flags", "icmp_type", "icmp_code", "tcp_flags"),
)


@pytest.fixture(scope="module")
def parser(compile_object: Callable[[str | Path], Path]) -> Iterator[Object]:
    with ObjectSpec.open(compile_object("network/parse.bpf.c")) as spec, spec.load() as made:
        yield made


def parsed(made: Object, program: str, frame: bytes) -> dict[str, object]:
    """Give what a program tells of a frame, without zeros; empty where the test run refuses it."""
    result = made.programs[program].test_run(frame)
    assert result.return_value in (2, 0xFFFFFFFF), "it passes"
    told = dict(zip(NAMES, LAYOUT.unpack(made.variables["parsed"].read_bytes()), strict=True))
    told["tags"] = (told.pop("tag"), told.pop("tag_inner"))[: told["tags_count"]]
    for name in ("source", "destination"):
        told[name] = told[name][: 4 if told["ip_version"] == 4 else 16].strip(b"\0")
    return comparable(told)


def comparable(told: dict[str, object]) -> dict[str, object]:
    """Leave out what a frame without sense has none of, and zeros at an address's ends."""
    if told.get("reason"):
        told = {name: value for name, value in told.items() if name not in UNKNOWN}
    stripped = {name: value.strip(b"\0") for name, value in told.items() if isinstance(value, bytes)}
    return {name: value for name, value in (told | stripped).items() if value}


UNKNOWN = frozenset({"protocol", "fragment", "source", "destination", "transport_offset"})


def expected(frame: bytes) -> dict[str, object]:
    return comparable(dissection.dissected(frame))


def refuses(program: str, frame: bytes) -> bool:
    """Tell whether test runs of traffic control refuse a frame: one that ends within the IP header behind its type."""
    ends = {b"\x08\x00": 34, b"\x86\xdd": 54}.get(frame[12:14], 0)
    return program != "parse_xdp" and len(frame) < ends


def seeds() -> list[bytes]:
    """Frames that scapy made, of many layers and options, and one of each kind that the workload has."""
    scapy = pytest.importorskip("scapy.all", reason="scapy is not installed: make setup")
    ethernet = scapy.Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    tags = [
        ethernet,
        ethernet / scapy.Dot1Q(vlan=7),
        ethernet / scapy.Dot1AD(vlan=11) / scapy.Dot1Q(vlan=4094, prio=5),
    ]
    four, six = {"src": "192.0.2.1", "dst": "198.51.100.7"}, {"src": "2001:db8::1", "dst": "2001:db8:1::7"}
    data = scapy.Raw(b"sonde" * 5)
    upper = [
        scapy.TCP(sport=40009, dport=443, flags="SAEC", options=[("MSS", 1460), ("NOP", None)]) / data,
        scapy.UDP(sport=40011, dport=53) / data,
        scapy.SCTP(sport=7, dport=9),
        scapy.GRE() / scapy.IP(**four) / scapy.TCP(),
        scapy.Raw(b""),
    ]
    packets = [scapy.IP(**four) / each for each in (*upper, scapy.ICMP(type=3, code=4) / data)]
    packets += [
        scapy.IP(**four, options=[scapy.IPOption_NOP()] * 7) / upper[0],
        scapy.IP(**four, flags="MF", id=3) / upper[1],
        scapy.IP(**four, frag=9, proto=17) / data,
        scapy.IPv6(**six) / scapy.ICMPv6EchoRequest() / data,
        scapy.ARP(),
        scapy.LLC() / data,
    ]
    heads = [
        scapy.IPv6(**six),
        scapy.IPv6(**six) / scapy.IPv6ExtHdrHopByHop(options=scapy.RouterAlert()),
        scapy.IPv6(**six) / scapy.IPv6ExtHdrRouting(addresses=["2001:db8::9"]) / scapy.IPv6ExtHdrDestOpt(),
        scapy.IPv6(**six) / scapy.IPv6ExtHdrFragment(offset=0, m=1),
        scapy.IPv6(**six) / scapy.IPv6ExtHdrFragment(offset=185, m=0),
        scapy.IPv6(**six) / scapy.AH(icv=bytes(12)),
    ]
    packets += [head / each for head in heads for each in upper]
    made = [bytes(tag / packet) for tag in tags for packet in packets]
    return [*(each.ljust(14, b"\0") for each in made), *(frame.data for frame in all_frames())]


def mutated(chosen: random.Random, frame: bytes) -> bytes:
    """Do something to a frame: bytes set, the end cut off, something put in or taken out, or nothing left of it."""
    made = bytearray(frame)
    for _ in range(chosen.choice((1, 1, 2, 3, 8))):
        kind = chosen.randrange(8)
        at = chosen.randrange(12, max(13, min(len(made), 90)))
        if kind <= 2:
            made[at : at + 1] = bytes((chosen.randrange(256),))
        elif kind == 3:
            made[at : at + 1] = bytes(
                (chosen.choice((0, 1, 4, 6, 17, 43, 44, 51, 58, 59, 60, 0x45, 0x60, 255)),)
            )
        elif kind == 4:
            del made[chosen.randrange(14, len(made) + 1) :]
        elif kind == 5:
            made[12:12] = struct.pack("!HH", chosen.choice((0x8100, 0x88A8, 0x9100)), chosen.randrange(65536))
        elif kind == 6:
            made[at:at] = chosen.randbytes(chosen.choice((1, 4, 8, 24)))
        else:
            made[14:] = chosen.randbytes(chosen.randrange(120))
    return bytes(made).ljust(14, b"\0")


def test_what_scapy_makes_is_what_is_told(parser: Object) -> None:
    """Frames as they should be, by each way of reading: dpkt finds the same."""
    for frame in seeds():
        for program in PROGRAMS:
            if not refuses(program, frame):
                assert expected(frame) == parsed(parser, program, frame), f"{program} {frame.hex()}"


def test_100_003_mutated_frames_are_told_alike(parser: Object) -> None:
    """Random and mutated frames, by the way of XDP and those of traffic control in turn; each passes."""
    chosen, kinds = random.Random(4), seeds()
    reasons: set[object] = set()
    for number in range(FRAMES):
        frame = mutated(chosen, kinds[number % len(kinds)])
        program = PROGRAMS[number % 4 % 3]
        if refuses(program, frame):
            program = "parse_xdp"
        told = expected(frame)
        reasons.add(told.get("reason"))
        assert told == parsed(parser, program, frame), f"{program} {frame.hex()}"
    assert {None, 1, 2, 3, 4, 5} == reasons, "each reason came up"


@pytest.mark.parametrize("way", ["xdp", "egress"])
@pytest.mark.parametrize("output", ["protocols", "flows"])
def test_the_tables_add_up_under_mutated_frames(output: str, way: str) -> None:
    """10,007 frames, each three times running: all pass, and the rows say of version, protocol and ports what dpkt says.

    The second and the third take the short ways, where there is one: slots, flows that the CPU remembers.
    """
    chosen, kinds = random.Random(7), seeds()
    frames = [
        frame for number in range(10_007) for frame in 3 * [mutated(chosen, kinds[number % len(kinds)])]
    ]
    with loaded(output, max_entries=20_000) as (made, reading):
        ran = passed(made, f"{output}_{way}", frames)
        batch = reading.read()

    told: dict[object, int] = {}
    for frame in ran:
        key = key_of(dissection.dissected(frame), with_ports=output == "flows")
        told[key] = told.get(key, 0) + 1
    found: dict[object, int] = {}
    for row in batch.rows():
        ports = (row["source_port"] or 0, row["destination_port"] or 0) if output == "flows" else ()
        key = (row["ip_version"], row["protocol"], *ports)
        found[key] = found.get(key, 0) + row["packets"]
    assert told == found
    assert len(ran) == batch.accounting.seen == batch.accounting.aggregated
    assert len(ran) > 3 * 9000


def key_of(told: dict[str, object], *, with_ports: bool) -> tuple[object, ...]:
    from sonde.enrich.protocol_name import REASONS, ethertype_name, ip_protocol_name

    version, ethertype = told.get("ip_version"), int(str(told.get("ethertype", 0)))
    if told.get("reason"):
        name = REASONS[int(str(told["reason"]))]
    elif version:
        name = ip_protocol_name(int(str(told.get("protocol", 0))))
    else:
        name = ethertype_name(ethertype) if ethertype >= 0x600 else "LLC"
    ports = (told.get("source_port", 0), told.get("destination_port", 0)) if with_ports else ()
    return version, name, *ports


def test_packets_without_a_link_header_are_told(parser: Object) -> None:
    """IPv4 from 8.0.0.0/16 and IPv6 whose third word is 0x86dd: by accident these begin like frames of their EtherType."""
    from sonde.probes.packets.workload import tcp, udp

    four = struct.pack("!BBHHHBBH", 0x45, 0, 40, 1, 0, 64, 6, 0) + bytes((8, 0, 0, 1, 192, 0, 2, 1)) + tcp()
    data = udp(payload=bytes(40))
    six = struct.pack("!IHBB", 6 << 28, len(data), 17, 64) + bytes(4) + b"\x86\xdd" + bytes(26) + data
    for packet, version, protocol, ports in ((four, 4, 6, (40009, 443)), (six, 6, 17, (40011, 53))):
        told = parsed(parser, "parse_bare", packet)
        assert (told["ip_version"], told["protocol"]) == (version, protocol)
        assert (told["source_port"], told["destination_port"]) == ports
        assert "network_offset" not in told


def test_frames_that_test_runs_refuse_are_as_expected(parser: Object) -> None:
    """The rule of ``refuses`` is the kernel's: where it says so the test run fails."""
    frame = all_frames()[0].data[:33]
    assert refuses("parse_skb", frame)
    try:
        parsed(parser, "parse_skb", frame)
    except KernelError:
        return
    pytest.skip("kernels before 6.18 run traffic control's programs on such frames")
