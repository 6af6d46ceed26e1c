"""Networks as the nodes of a trie, each with the set of clauses that hold for the addresses whose longest prefix it is."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sonde.filter.clause import Clause
from sonde.filter.dimension import Requirements
from sonde.filter.expression import Network, Networks

Firsts = Mapping[int, int]
"""Clause → the first of its members whose networks cover a node."""


@dataclass(frozen=True, slots=True)
class Group:
    """What a clause of several members asks: an address in the networks of any of them."""

    clause: int


@dataclass(slots=True)
class Node:
    """A prefix: its own part of what is asked, and, once all that covers it is known, the whole."""

    address: int
    length_bits: int
    truth: int = 0
    firsts: dict[int, int] = field(default_factory=dict)
    allowed: int = 0
    number: int = 0

    def last(self, width_bits: int) -> int:
        """Give the last address below the prefix."""
        return self.address | ((1 << (width_bits - self.length_bits)) - 1)


@dataclass(frozen=True, slots=True)
class Direction:
    """All that there is of one direction's addresses: nodes by the version of IP, and the set outside of all."""

    is_used: bool
    otherwise: int
    nodes: Mapping[int, Sequence[Node]]

    @property
    def count(self) -> int:
        """Give the number of nodes."""
        return sum(map(len, self.nodes.values()))


WIDTHS = {4: 32, 6: 128}


def direction_of(direction: str, clauses: Sequence[Clause]) -> Direction:
    """Work out the nodes of one direction."""
    requirements = Requirements(len(clauses))
    for number, clause in enumerate(clauses):
        if clause.direction == direction:
            requirements.ask(Group(number), number, is_negated=False)
        for literal in clause.literals:
            if isinstance(literal.atom, Networks) and literal.atom.direction == direction:
                requirements.ask(literal.atom, number, is_negated=literal.is_negated)
    drafts = _drafts(requirements, clauses)
    nodes, count = {}, 0
    for version, width_bits in WIDTHS.items():
        nodes[version] = list(_resolved(list(drafts[version].values()), width_bits, requirements))
        for node in nodes[version]:
            node.number, count = count, count + 1
    return Direction(bool(requirements.asked), requirements.allowed(0), nodes)


def _drafts(requirements: Requirements, clauses: Sequence[Clause]) -> dict[int, dict[tuple[int, int], Node]]:
    """Make a node for each network, which knows what was said of that network itself."""
    drafts: dict[int, dict[tuple[int, int], Node]] = defaultdict(dict)

    def node_of(network: Network) -> Node:
        key = int(network.network_address), network.prefixlen
        return drafts[network.version].setdefault(key, Node(*key))

    for number, asked in enumerate(requirements.asked):
        if isinstance(asked, Networks):
            for network in asked.networks:
                node_of(network).truth |= 1 << number
            continue
        assert isinstance(asked, Group)
        for rule, networks in clauses[asked.clause].members:
            for network in networks.networks:
                node = node_of(network)
                node.truth |= 1 << number
                # Members come in the rules' order: the first one stays.
                node.firsts.setdefault(asked.clause, rule)
    return drafts


def _resolved(drafts: list[Node], width_bits: int, requirements: Requirements) -> Iterator[Node]:
    """Give each node what covers it, from the shortest prefix on; those that say nothing new are left out."""
    outside = Node(0, 0, allowed=requirements.allowed(0))
    covering: list[Node] = []
    for node in sorted(drafts, key=lambda node: (node.address, node.length_bits)):
        while covering and covering[-1].last(width_bits) < node.address:
            covering.pop()
        above = covering[-1] if covering else outside
        node.truth |= above.truth
        node.allowed = requirements.allowed(node.truth)
        for clause, rule in above.firsts.items():
            node.firsts[clause] = min(rule, node.firsts.get(clause, rule))
        # What is below it may ask for what it says together with something else, so it covers in any case.
        covering.append(node)
        if node.allowed != above.allowed or node.firsts != above.firsts:
            yield node
