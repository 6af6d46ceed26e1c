"""Rules: what is done with packets of which kind, and which rule is the first that a packet meets."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Literal, get_args

from sonde.filter.expression import Expression
from sonde.filter.packet import Packet
from sonde.filter.rate import Rate

Action = Literal["allow", "drop", "rate-limit"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; ``rate`` is there for the action rate-limit alone."""

    action: Action
    condition: Expression
    rate: Rate | None = None
    name: str = ""

    @property
    def identity(self) -> Hashable:
        """Give what it is known by over replacements, where it goes on counting: what it does and its name, else all of it."""
        return (self.action, self.rate, self.name) if self.name else self

    def __str__(self) -> str:
        limit = f" {self.rate}" if self.rate else ""
        return f"{self.action}{limit}: {self.condition}"


@dataclass(frozen=True, slots=True)
class RuleSet:
    """Rules in their order: the first that a packet meets decides, and what meets none passes.

    ``files`` are those that they were read from: the file of rules, then its lists of networks.
    """

    rules: tuple[Rule, ...]
    files: tuple[str, ...] = ()

    def first_match(self, packet: Packet) -> int | None:
        """Find the position of the first rule that a packet meets: the plain meaning of the rules, one after the other."""
        for position, rule in enumerate(self.rules):
            if rule.condition.holds(packet):
                return position
        return None

    def __len__(self) -> int:
        return len(self.rules)
