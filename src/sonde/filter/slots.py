"""Which counter is which rule's: slots, that outlive the sets of rules."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from sonde.filter.rule import Rule, RuleSet

Identity = tuple[Hashable, int]
"""What a rule is known by, and how many of the same stand before it."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """A slot for each rule of a set, in their order; ``added`` are those that nobody had before."""

    slots: tuple[int, ...]
    added: frozenset[int]
    removed: frozenset[int]
    held: dict[Identity, int] = field(repr=False)

    @property
    def needed(self) -> int:
        """Give the number of slots that there must be."""
        return max([*self.slots, *self.removed], default=-1) + 1


@dataclass(slots=True)
class Slots:
    """Gives out slots from ``first`` on: a rule that is in two sets, one after the other, keeps its own."""

    first: int
    _held: dict[Identity, int] = field(default_factory=dict)

    def assign(self, rules: RuleSet) -> Assignment:
        """Choose the slots of a set; those that the set before has are not given to others before ``commit``."""
        identities = _identities(rules.rules)
        held = {identity: self._held[identity] for identity in identities if identity in self._held}
        taken, free = set(self._held.values()), self.first
        added = set()
        for identity in identities:
            if identity in held:
                continue
            while free in taken:
                free += 1
            held[identity] = free
            taken.add(free)
            added.add(free)
        removed = set(self._held.values()) - set(held.values())
        return Assignment(
            tuple(held[each] for each in identities), frozenset(added), frozenset(removed), held
        )

    def commit(self, assignment: Assignment) -> None:
        """Let the set be the one that is in force."""
        self._held = assignment.held


def _identities(rules: Sequence[Rule]) -> list[Identity]:
    before: Counter[Hashable] = Counter()
    found = []
    for identity in (rule.identity for rule in rules):
        found.append((identity, before[identity]))
        before[identity] += 1
    return found
