"""Rules that hold for no packet whatever: mostly an ``and`` that was meant as ``or``, or a port of what has none."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import combinations, islice

from sonde.filter.clause import Conjunction, disjunction
from sonde.filter.expression import Expression, Flag, Networks, Ports, Protocols, Version, Vlan
from sonde.filter.parser import WITH_PORTS
from sonde.filter.protocol_name import NUMBERS
from sonde.filter.rule import Rule, RuleSet

VERSIONS, PROTOCOLS = frozenset({4, 6}), frozenset(range(256))
HAVING_PORTS, TCP = frozenset(NUMBERS[name] for name in WITH_PORTS), frozenset({NUMBERS["tcp"]})
PAIRS_MAX = 1_000
"""So many are compared; beyond that, a rule is taken for one that can hold."""


def unmet(rules: RuleSet) -> Iterator[tuple[int, Rule]]:
    """Find the rules that no packet can meet, whatever stands before them; numbers count from 1."""
    return ((number, rule) for number, rule in enumerate(rules.rules, 1) if not can_hold(rule.condition))


def can_hold(condition: Expression) -> bool:
    """Tell whether there may be a packet for which a condition holds; true where that would take long to find out."""
    conjunctions = disjunction(condition)
    return conjunctions is None or any(map(_is_possible, conjunctions))


def _is_possible(literals: Conjunction) -> bool:
    versions, protocols = VERSIONS, PROTOCOLS
    asked = defaultdict[str, list[Networks | Ports | Vlan]](list)
    for literal in literals:
        atom, is_wanted = literal.atom, not literal.is_negated
        if isinstance(atom, Version):
            versions = _narrowed(versions, {atom.version}, is_wanted=is_wanted)
        elif isinstance(atom, Protocols):
            protocols = _narrowed(protocols, atom.numbers, is_wanted=is_wanted)
        elif not is_wanted:
            continue
        elif isinstance(atom, Flag):
            protocols &= TCP
        elif isinstance(atom, Ports):
            protocols &= HAVING_PORTS
            asked[f"{atom.direction} port"].append(atom)
        elif isinstance(atom, Networks):
            versions &= {network.version for network in atom.networks}
            asked[atom.direction].append(atom)
        elif isinstance(atom, Vlan):
            asked["vlan"].append(atom)
    pairs = (pair for each in asked.values() for pair in combinations(each, 2))
    return bool(versions and protocols) and all(_meet(one, other) for one, other in islice(pairs, PAIRS_MAX))


def _narrowed(left: frozenset[int], named: Iterable[int], *, is_wanted: bool) -> frozenset[int]:
    return left & frozenset(named) if is_wanted else left - frozenset(named)


def _meet(one: Networks | Ports | Vlan, other: Networks | Ports | Vlan) -> bool:
    """Tell whether two lists that are asked of the same field have a value in common."""
    if isinstance(one, Networks) and isinstance(other, Networks):
        if len(one.networks) * len(other.networks) > PAIRS_MAX:
            return True
        return any(a.version == b.version and a.overlaps(b) for a in one.networks for b in other.networks)
    assert not isinstance(one, Networks)
    assert not isinstance(other, Networks)
    return any(a[0] <= b[1] and b[0] <= a[1] for a in one.ranges for b in other.ranges)
