"""Rules as clauses: conjunctions of literals, which tables can decide one dimension at a time.

A condition becomes a disjunction of conjunctions. Rules that follow each other and differ in one list of networks alone
share a clause: the trie then tells which of them it was. So 10,000 rules of one network each are one clause.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from sonde.filter.expression import And, Atom, Expression, Networks, Not, Or
from sonde.filter.rule import RuleSet

CLAUSES_MAX = 1024


@dataclass(frozen=True, slots=True)
class Literal:
    """A question, or its negation."""

    atom: Atom
    is_negated: bool = False


Conjunction = frozenset[Literal]


@dataclass(slots=True)
class Clause:
    """All literals hold: then it is ``rule``, or, of several ``members``, the first whose networks have the address.

    ``members`` are rules with their networks, in the rules' order; ``direction`` says which address decides.
    """

    literals: Conjunction
    rule: int
    members: list[tuple[int, Networks]] = field(default_factory=list)
    direction: str = ""


class TooComplexError(ValueError):
    """Rules that need more clauses than one packet could be checked against."""


def clauses_of(rules: RuleSet) -> list[Clause]:
    """Write rules as clauses, in their order; raises TooComplexError, which names the rule where it became too many."""
    clauses: list[Clause] = []
    for position, rule in enumerate(rules.rules):
        conjunctions = disjunction(rule.condition)
        if conjunctions is not None:
            if len(conjunctions) == 1 and clauses and _joined(clauses[-1], position, conjunctions[0]):
                continue
            clauses += [Clause(conjunction, position) for conjunction in conjunctions]
        if conjunctions is None or len(clauses) > CLAUSES_MAX:
            raise TooComplexError(
                f"rule {position + 1}: up to here there are more than {CLAUSES_MAX:,} combinations of conditions: "
                "write rules that differ in networks, ports or protocols as one rule with a list"
            )
    return clauses


def _joined(before: Clause, position: int, literals: Conjunction) -> bool:
    """Add a rule to the clause before it, if they differ in one list of networks alone."""
    for direction in (before.direction,) if before.direction else ("src", "dst"):
        ours, theirs = _only_networks(literals, direction), _only_networks(before.literals, direction)
        if ours is None or (theirs is None and not before.direction):
            continue
        rest = literals - {Literal(ours)}
        if before.direction:
            if rest != before.literals:
                continue
        else:
            assert theirs is not None
            if rest != before.literals - {Literal(theirs)}:
                continue
            before.literals, before.direction = rest, direction
            before.members = [(before.rule, theirs)]
        before.members.append((position, ours))
        return True
    return False


def _only_networks(literals: Conjunction, direction: str) -> Networks | None:
    """Give the one list of networks that is asked of an address; None where there is none, or more."""
    found = [
        literal
        for literal in literals
        if isinstance(literal.atom, Networks) and literal.atom.direction == direction
    ]
    if len(found) != 1 or found[0].is_negated:
        return None
    assert isinstance(found[0].atom, Networks)
    return found[0].atom


def disjunction(condition: Expression) -> list[Conjunction] | None:
    """Write a condition as conjunctions one of which holds; None where they are too many."""
    return _disjunction(condition, is_negated=False)


def _disjunction(expression: Expression, *, is_negated: bool) -> list[Conjunction] | None:
    """Write a condition, or its negation, as conjunctions one of which holds; None where they are too many."""
    if isinstance(expression, Not):
        return _disjunction(expression.operand, is_negated=not is_negated)
    if not isinstance(expression, (And, Or)):
        return [frozenset({Literal(expression, is_negated)})]
    parts = [_disjunction(operand, is_negated=is_negated) for operand in expression.operands]
    if any(part is None for part in parts):
        return None
    whole: list[list[Conjunction]] = [part for part in parts if part is not None]
    # De Morgan: what is negated is the other one.
    return _all_of(whole) if isinstance(expression, And) != is_negated else _any_of(whole)


def _any_of(parts: Sequence[list[Conjunction]]) -> list[Conjunction] | None:
    found = list(dict.fromkeys(each for part in parts for each in part))
    return found if len(found) <= CLAUSES_MAX else None


def _all_of(parts: Sequence[list[Conjunction]]) -> list[Conjunction] | None:
    found: list[Conjunction] = [frozenset()]
    for part in parts:
        product = dict.fromkeys(one | other for one in found for other in part)
        found = [each for each in product if not _contradicts(each)]
        if len(product) > CLAUSES_MAX:
            return None
    return found


def _contradicts(literals: Conjunction) -> bool:
    return any(Literal(literal.atom, not literal.is_negated) in literals for literal in literals)
