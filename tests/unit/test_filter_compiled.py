"""Rules compiled into tables: what is looked up there is what the rules say one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_network

import numpy as np
import pytest

from filtering import Maker
from sonde.filter.clause import TooComplexError, clauses_of
from sonde.filter.compiled import WORD_BITS, Compiled, compile_rules
from sonde.filter.dimension import DIMENSIONS, FLAGS, FRAGMENT, PORTS, VERSION_6, VLANS
from sonde.filter.expression import Networks, Or
from sonde.filter.packet import Packet
from sonde.filter.parser import parse
from sonde.filter.prefix import WIDTHS
from sonde.filter.rule import Rule, RuleSet
from sonde.filter.slots import Slots


class Lookup:
    """Looks up packets as the program does, in Python."""

    def __init__(self, compiled: Compiled) -> None:
        self.compiled = compiled
        self._tries: Mapping[str, dict[tuple[int, bytes], tuple[int, int]]] = {
            name: {
                (int(key["length_bits"]), key["address"].tobytes()): (int(node["set"]), int(node["number"]))
                for key, node in zip(trie.keys, trie.nodes, strict=True)
            }
            for name, trie in compiled.tries.items()
        }

    def rule(self, packet: Packet) -> int:
        knobs = self.compiled.knobs
        numbers, places = {}, []
        for word, address in (("source", packet.source), ("destination", packet.destination)):
            if knobs[f"uses_{word}"]:
                place, numbers[word] = self._longest(word, packet.version, address.packed)
                places.append(knobs[f"{word}_otherwise"] if place is None else place)
        for dimension, value in zip(DIMENSIONS, _values(packet), strict=True):
            if knobs[dimension.knob]:
                places.append(int(self.compiled.table[dimension.at + value]))
        common = (1 << len(self.compiled.clauses)) - 1
        for place in places:
            common &= self._members(place)
        if not common:
            return knobs["otherwise_rule"]
        clause = self.compiled.clauses[(common & -common).bit_length() - 1]
        if clause["by"] == 0:
            return int(clause["rule"])
        number = numbers["source" if clause["by"] == 1 else "destination"]
        return int(self.compiled.attribution[int(clause["rule"]) + number])

    def _members(self, place: int) -> int:
        words = self.compiled.knobs["words"]
        if words == 1:
            return place
        return sum(
            int(word) << (WORD_BITS * at) for at, word in enumerate(self.compiled.sets[place : place + words])
        )

    def _longest(self, word: str, version: int, address: bytes) -> tuple[int | None, int]:
        width, trie = WIDTHS[version], self._tries[f"{word}{version}"]
        value = int.from_bytes(address, "big")
        for length in range(width, -1, -1):
            masked = value >> (width - length) << (width - length)
            found = trie.get((length, masked.to_bytes(width // 8, "big")))
            if found is not None:
                return found
        return None, 0


def _values(packet: Packet) -> tuple[int, ...]:
    kind = packet.protocol | VERSION_6 * (packet.version == 6) | FRAGMENT * packet.is_fragment
    return (
        kind,
        FLAGS - 1 if packet.flags is None else packet.flags,
        VLANS - 1 if packet.vlan is None else packet.vlan,
        PORTS - 1 if packet.source_port is None else packet.source_port,
        PORTS - 1 if packet.destination_port is None else packet.destination_port,
    )


def test_a_thousand_sets_of_rules_mean_what_they_say() -> None:
    """Every packet finds the rule that is the first one for it, in sets of one word and of several."""
    words = set()
    for seed in range(1009):
        maker = Maker(seed)
        rules = maker.rules()
        compiled = compile_rules(rules)
        words.add(compiled.knobs["words"])
        lookup = Lookup(compiled)
        for _ in range(23):
            packet = maker.packet()
            first = rules.first_match(packet)
            assert (len(rules) if first is None else first) == lookup.rule(packet), (seed, packet)
    assert words >= {1, 2}


def test_ten_thousand_rules_of_one_network_each_are_one_clause() -> None:
    networks = [ip_network((0x0A000000 + number * 256, 24)) for number in range(10_007)]
    rules = RuleSet(
        tuple(Rule("drop", Networks("src", (network,)), name=str(network)) for network in networks)
    )
    compiled = compile_rules(rules)
    assert (len(compiled.clauses), compiled.knobs["words"]) == (1, 1)
    assert sorted(compiled.attribution.tolist()) == list(range(10_007))


def test_a_network_within_one_of_the_same_list_adds_nothing() -> None:
    inside = tuple(ip_network(text) for text in ("10.0.0.0/8", "10.1.0.0/16", "10.1.2.0/24", "11.0.0.0/8"))
    assert compile_rules(RuleSet((Rule("drop", Networks("src", inside)),))).prefixes == 2


def test_dimensions_that_no_rule_asks_for_are_not_looked_up() -> None:
    knobs = compile_rules(RuleSet((Rule("drop", parse("udp dst port 53")),))).knobs
    assert {name for name, value in knobs.items() if name.startswith("uses_") and value} == {
        "uses_kind",
        "uses_destination_port",
    }


def test_too_many_combinations_name_the_rule() -> None:
    rules = [Rule("drop", parse(f"dst port {number}")) for number in range(1025)]
    assert len(clauses_of(RuleSet(tuple(rules[:1024])))) == 1024
    with pytest.raises(TooComplexError, match=r"^rule 1025: .* more than 1,024 combinations of conditions: "):
        clauses_of(RuleSet(tuple(rules)))


def test_a_condition_that_multiplies_out_is_refused_at_once() -> None:
    """Twenty alternatives of two, all of which have to hold, would be a million conjunctions."""
    pairs = " and ".join(f"(src port {2 * n} or dst port {2 * n + 1})" for n in range(20))
    with pytest.raises(TooComplexError, match=r"^rule 1: "):
        clauses_of(RuleSet((Rule("drop", parse(pairs)),)))


def test_what_contradicts_itself_takes_no_clause() -> None:
    assert clauses_of(RuleSet((Rule("drop", parse("tcp and not tcp")),))) == []
    assert isinstance(parse("host 10.0.0.1"), Or)


def test_a_rule_that_stays_keeps_its_slot() -> None:
    """Equal rules are the same one, the second of two equal ones is the second; nobody gets a slot that is in use."""
    one, other, third = (Rule("drop", parse(f"src 10.0.0.{number}")) for number in (1, 2, 3))
    slots = Slots(first=16)
    before = slots.assign(RuleSet((one, other, one)))
    assert before.slots == (16, 17, 18)
    slots.commit(before)
    after = slots.assign(RuleSet((third, one, one, other)))
    assert after.slots == (19, 16, 18, 17)
    assert (after.added, after.removed) == ({19}, frozenset())
    slots.commit(after)
    last = slots.assign(RuleSet((third, one)))
    assert (last.slots, last.removed) == ((19, 16), {17, 18})
    slots.commit(last)
    assert slots.assign(RuleSet((other,))).slots == (17,)


def test_a_rule_with_a_name_keeps_its_slot_while_it_does_the_same() -> None:
    """A list of networks that grows is the same list; one that drops now what it let pass is another one."""
    listed, longer = parse("src 10.0.0.1"), parse("src 10.0.0.1, 10.0.0.2")
    slots = Slots(first=16)
    before = slots.assign(RuleSet((Rule("drop", listed, name="bad"), Rule("drop", listed))))
    slots.commit(before)
    after = slots.assign(RuleSet((Rule("drop", longer), Rule("drop", longer, name="bad"))))
    assert (after.slots, after.added) == ((18, 16), {18})
    slots.commit(after)
    last = slots.assign(RuleSet((Rule("allow", longer, name="bad"), Rule("drop", listed, name="worse"))))
    assert last.added == set(last.slots)


def test_the_tables_are_small_where_little_is_asked() -> None:
    compiled = compile_rules(RuleSet((Rule("drop", parse("src 10.0.0.0/8")),)))
    assert not np.any(compiled.table)
