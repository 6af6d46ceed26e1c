"""Rules as the tables that the program looks into; the layout is that of tables.bpf.h."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from sonde.filter.clause import Clause, TooComplexError, clauses_of
from sonde.filter.dimension import DIMENSIONS, TABLE_ENTRIES, requirements_of, stretches
from sonde.filter.prefix import WIDTHS, Direction, Node, direction_of
from sonde.filter.rule import RuleSet

if TYPE_CHECKING:
    import numpy.typing as npt

WORD_BITS = 64
WORD = (1 << WORD_BITS) - 1
ATTRIBUTIONS_MAX = 1 << 23
BY = {"": 0, "src": 1, "dst": 2}
DIRECTIONS = {"src": "source", "dst": "destination"}
NODE = np.dtype([("set", "u8"), ("number", "u4"), ("padding", "u4")])
CLAUSE = np.dtype([("rule", "u4"), ("by", "u4")])


@dataclass(frozen=True, slots=True)
class Trie:
    """What goes into one trie: keys as bytes, in the map's layout, and their nodes."""

    keys: npt.NDArray[Any]
    nodes: npt.NDArray[Any]


@dataclass(frozen=True, slots=True)
class Compiled:
    """Knobs by name, and the maps' content by name; ``table`` holds only the stretches of dimensions that are in use."""

    knobs: dict[str, int]
    table: npt.NDArray[np.uint64]
    sets: npt.NDArray[np.uint64]
    clauses: npt.NDArray[Any]
    attribution: npt.NDArray[np.uint32]
    tries: dict[str, Trie]

    @property
    def prefixes(self) -> int:
        """Give the number of prefixes in all tries."""
        return sum(len(trie.keys) for trie in self.tries.values())


class Sets:
    """Sets as the maps hold them: the only word itself, or the place where the words begin; equal ones once."""

    def __init__(self, clauses: int) -> None:
        # None where no rule can ever be met: then nothing is looked up.
        self.words = -(-clauses // WORD_BITS)
        self._places: dict[int, int] = {}

    def place(self, members: int) -> int:
        """Give what stands for a set."""
        if self.words <= 1:
            return members
        return self._places.setdefault(members, len(self._places)) * self.words

    def content(self) -> npt.NDArray[np.uint64]:
        """Give all words."""
        found = [
            members >> (WORD_BITS * word) & WORD for members in self._places for word in range(self.words)
        ]
        return np.array(found, dtype=np.uint64)


def compile_rules(rules: RuleSet) -> Compiled:
    """Compile rules; raises TooComplexError where they would need more than the program can look up."""
    clauses = clauses_of(rules)
    sets = Sets(len(clauses))
    directions = {name: direction_of(name, clauses) for name in DIRECTIONS}
    places, attribution = _attribution(clauses, directions)
    knobs: dict[str, int] = {"otherwise_rule": len(rules)}
    table = np.zeros(TABLE_ENTRIES, dtype=np.uint64)
    for dimension in DIMENSIONS:
        requirements = requirements_of(dimension, clauses)
        knobs[dimension.knob] = int(bool(requirements.asked))
        if requirements.asked:
            for first, end, members in stretches(dimension, requirements):
                table[dimension.at + first : dimension.at + end] = sets.place(members)
    tries = {}
    for name, direction in directions.items():
        word = DIRECTIONS[name]
        knobs[f"uses_{word}"] = int(direction.is_used)
        knobs[f"{word}_otherwise"] = sets.place(direction.otherwise)
        for version, width_bits in WIDTHS.items():
            tries[f"{word}{version}"] = _trie(direction.nodes[version], width_bits, sets)
    knobs["words"] = sets.words
    rows = [(places.get(number, clause.rule), BY[clause.direction]) for number, clause in enumerate(clauses)]
    return Compiled(knobs, table, sets.content(), np.array(rows, dtype=CLAUSE), attribution, tries)


def _attribution(
    clauses: Sequence[Clause], directions: dict[str, Direction]
) -> tuple[dict[int, int], npt.NDArray[np.uint32]]:
    """Make the list that tells which member of a clause it was, by node: where each clause's begins, and the list."""
    places, size = {}, 0
    for number, clause in enumerate(clauses):
        if clause.direction:
            places[number] = size
            size += directions[clause.direction].count
    if size > ATTRIBUTIONS_MAX:
        raise TooComplexError(
            f"{len(places):,} lists of rules that differ in networks alone, over {size // len(places):,} networks, "
            "are too many: write rules that do the same as one rule with a list"
        )
    found = np.zeros(size, dtype=np.uint32)
    for direction in directions.values():
        for nodes in direction.nodes.values():
            for node in nodes:
                for number, rule in node.firsts.items():
                    found[places[number] + node.number] = rule
    return places, found


def _trie(nodes: Sequence[Node], width_bits: int, sets: Sets) -> Trie:
    size_bytes = width_bits // 8
    key = np.dtype([("length_bits", "u4"), ("address", "u1", (size_bytes,))])
    raw = b"".join(node.address.to_bytes(size_bytes, "big") for node in nodes)
    keys = np.zeros(len(nodes), dtype=key)
    keys["length_bits"] = [node.length_bits for node in nodes]
    keys["address"] = np.frombuffer(raw, dtype=np.uint8).reshape(-1, size_bytes)
    values = np.zeros(len(nodes), dtype=NODE)
    values["set"] = np.array([sets.place(node.allowed) for node in nodes], dtype=np.uint64)
    values["number"] = [node.number for node in nodes]
    return Trie(keys, values)
