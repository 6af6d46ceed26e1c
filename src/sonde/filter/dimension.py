"""The dimensions of a packet but its addresses: for each of their values, the set of clauses that it does not rule out.

Sets are integers of Python, a bit for each clause. Positions are those of tables.bpf.h.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from sonde.filter.clause import Clause
from sonde.filter.expression import Atom, Flag, Fragment, Networks, Ports, Protocols, Version, Vlan
from sonde.filter.packet import TCP_FLAGS

Ranges = Iterable[tuple[int, int]]

VERSION_6, FRAGMENT, KINDS = 1 << 8, 1 << 9, 1 << 10
FLAGS, VLANS, PORTS = (1 << 8) + 1, (1 << 12) + 1, (1 << 16) + 1
"""So many values, of which the last is the one that a packet has which lacks the field."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """Values from ``at`` on in the table, ``length`` of them; ``ranges`` are those for which an atom holds."""

    knob: str
    at: int
    length: int
    asks: Callable[[Atom], bool]
    ranges: Callable[[Atom], Ranges]


def _kinds(atom: Atom) -> Ranges:
    if isinstance(atom, Protocols):
        return [
            (number | rest, number | rest) for number in atom.numbers for rest in range(0, KINDS, VERSION_6)
        ]
    if isinstance(atom, Version):
        first = VERSION_6 if atom.version == 6 else 0
        return [(first, first + 255), (first + FRAGMENT, first + FRAGMENT + 255)]
    return [(FRAGMENT, KINDS - 1)]


def _flags(atom: Atom) -> Ranges:
    assert isinstance(atom, Flag)
    return [(value, value) for value in range(FLAGS - 1) if value & TCP_FLAGS[atom.name]]


def _ranges(atom: Atom) -> Ranges:
    assert isinstance(atom, (Ports, Vlan))
    return atom.ranges


DIMENSIONS = (
    Dimension("uses_kind", 0, KINDS, lambda atom: isinstance(atom, (Protocols, Version, Fragment)), _kinds),
    Dimension("uses_flags", KINDS, FLAGS, lambda atom: isinstance(atom, Flag), _flags),
    Dimension("uses_vlan", KINDS + FLAGS, VLANS, lambda atom: isinstance(atom, Vlan), _ranges),
    Dimension(
        "uses_source_port",
        KINDS + FLAGS + VLANS,
        PORTS,
        lambda atom: isinstance(atom, Ports) and atom.direction == "src",
        _ranges,
    ),
    Dimension(
        "uses_destination_port",
        KINDS + FLAGS + VLANS + PORTS,
        PORTS,
        lambda atom: isinstance(atom, Ports) and atom.direction == "dst",
        _ranges,
    ),
)
TABLE_ENTRIES = KINDS + FLAGS + VLANS + 2 * PORTS


class Asked(Protocol):
    """Something that is asked of a packet; two of them are one where they are equal."""

    def __hash__(self) -> int: ...


class Requirements:
    """Which clauses ask what of one dimension; ``allowed`` gives the set of clauses for what is true of a value.

    What is true is an integer, too: bit n is the n-th thing that is asked.
    """

    def __init__(self, clauses: int) -> None:
        self._all = (1 << clauses) - 1
        self._numbers: dict[Asked, int] = {}
        self._wanted: list[int] = []
        self._refused: list[int] = []
        self._known: dict[int, int] = {}

    def ask(self, asked: Asked, clause: int, *, is_negated: bool) -> None:
        """Note what a clause asks."""
        number = self._numbers.setdefault(asked, len(self._numbers))
        if number == len(self._wanted):
            self._wanted.append(0)
            self._refused.append(0)
        (self._refused if is_negated else self._wanted)[number] |= 1 << clause

    @property
    def asked(self) -> Sequence[Asked]:
        """Give everything that is asked, by its number."""
        return list(self._numbers)

    def allowed(self, truth: int) -> int:
        """Give the clauses that are not ruled out."""
        found = self._known.get(truth)
        if found is None:
            found = self._all
            for number, (wanted, refused) in enumerate(zip(self._wanted, self._refused, strict=True)):
                found &= ~(refused if truth >> number & 1 else wanted)
            self._known[truth] = found
        return found


def requirements_of(dimension: Dimension, clauses: Sequence[Clause]) -> Requirements:
    """Gather what all clauses ask of a dimension."""
    found = Requirements(len(clauses))
    for number, clause in enumerate(clauses):
        for literal in clause.literals:
            if not isinstance(literal.atom, Networks) and dimension.asks(literal.atom):
                found.ask(literal.atom, number, is_negated=literal.is_negated)
    return found


def stretches(dimension: Dimension, requirements: Requirements) -> Iterator[tuple[int, int, int]]:
    """Give the dimension's values in stretches of one set: the first value, the one behind the last, the set."""
    changes: dict[int, int] = defaultdict(int)
    for number, atom in enumerate(requirements.asked):
        for first, last in _merged(dimension.ranges(atom)):  # type: ignore[arg-type]
            # Where one range ends and the next begins both changes cancel out.
            changes[first] ^= 1 << number
            changes[last + 1] ^= 1 << number
    truth, start = 0, 0
    for value in sorted(changes):
        if value > start:
            yield start, value, requirements.allowed(truth)
        truth, start = truth ^ changes[value], value
    if start < dimension.length:
        yield start, dimension.length, requirements.allowed(truth)


def _merged(ranges: Ranges) -> Iterator[tuple[int, int]]:
    """Give ranges that do not overlap."""
    end = -1
    for first, last in sorted(ranges):
        if last > end:
            yield max(first, end + 1), last
            end = last
