"""What ``sonde filter`` costs for each packet with lists of networks, and how fast a list is put in force."""

from __future__ import annotations

import random
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv4Network

from sonde.bpf.program import Program
from sonde.filter.compiled import compile_rules
from sonde.filter.expression import Networks
from sonde.filter.installation import FIRST_RULE, PROGRAM, Handed, Settings, install
from sonde.filter.rule import Rule, RuleSet

SIZES = (10, 10_000)
PREFIXES = (16, 20, 24, 24, 28, 32)
FRAMES = 8


@contextmanager
def filtering(networks: int, *, seed: int = 1) -> Iterator[tuple[Program, list[bytes]]]:
    """Give the program with one list of so many networks to drop, and frames: half from within them, half from outside."""
    chosen = random.Random(seed)
    listed = _networks(networks, chosen)
    rules = RuleSet((Rule("drop", Networks("src", tuple(listed))),))
    handed = Handed(slots=FIRST_RULE + 1)
    with install(rules, compile_rules(rules), [FIRST_RULE], Settings(), handed) as loaded:
        inside = [chosen.choice(listed).network_address for _ in range(FRAMES // 2)]
        outside = [IPv4Address(chosen.getrandbits(32)) for _ in range(FRAMES // 2)]
        yield loaded.programs[PROGRAM], [frame(address) for address in (*inside, *outside)]


def load_s(networks: int) -> float:
    """Give the seconds from rules in Python to a program in the kernel whose maps are full."""
    listed = tuple(_networks(networks, random.Random(2)))
    rules = RuleSet((Rule("drop", Networks("src", listed)),))
    begun = time.perf_counter()
    compiled = compile_rules(rules)
    with install(rules, compiled, [FIRST_RULE], Settings(), Handed(slots=FIRST_RULE + 1)):
        return time.perf_counter() - begun


def ns_per_packet(networks: int, *, repeat: int = 200_000, rounds: int = 5) -> float:
    """Give the mean over the frames, of each the fastest round; by test_run, the caches warm."""
    with filtering(networks) as (program, frames):
        fastest = [
            min(program.test_run(each, repeat=repeat).duration_ns for _ in range(rounds)) for each in frames
        ]
    return sum(fastest) / len(fastest)


def report(*, rounds: int = 5) -> None:
    """Print both."""
    for networks in SIZES:
        print(
            f"filter, {networks:>6,} networks          {ns_per_packet(networks, rounds=rounds):5.0f} ns per packet, "
            f"put in force in {min(load_s(networks) for _ in range(3)):.3f} s"
        )


def frame(source: IPv4Address) -> bytes:
    """Give a TCP segment of 60 bytes from a source."""
    header = struct.pack("!BBHHHBBH", 0x45, 0, 46, 1, 0, 64, 6, 0) + source.packed + bytes((192, 0, 2, 1))
    return (
        bytes(12)
        + b"\x08\x00"
        + header
        + struct.pack("!HHIIBBHHH", 4242, 443, 1, 2, 0x50, 0x10, 64, 0, 0)
        + bytes(6)
    )


def _networks(count: int, chosen: random.Random) -> list[IPv4Network]:
    found: dict[IPv4Network, None] = {}
    while len(found) < count:
        bits = chosen.choice(PREFIXES)
        found[IPv4Network((chosen.getrandbits(32) >> (32 - bits) << (32 - bits), bits))] = None
    return list(found)


if __name__ == "__main__":
    report()
