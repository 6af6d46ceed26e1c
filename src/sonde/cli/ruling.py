"""Where a filter's rules come from: a file, which is read again, or the command line."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from sonde.errors import CommandError, ConfigError

if TYPE_CHECKING:
    from sonde.filter.rule import Rule, RuleSet


@dataclass(frozen=True, slots=True)
class Ruling:
    """The rules of ``path``, or those that were ``given``; ``times_told`` how often to cut one's own connection."""

    interface: str
    path: str | None
    given: tuple[Rule, ...]
    times_told: int

    @classmethod
    def of(cls, ctx: click.Context, options: dict[str, Any], order: Sequence[tuple[str, Any]]) -> Ruling:
        """Read the rules of the command line; raises click.UsageError."""
        path = options["path_rules"]
        if path is not None and order:
            raise click.UsageError(
                "--rules and rules on the command line exclude each other: write them into the file", ctx
            )
        if path is None and not order:
            raise click.UsageError("there are no rules: give --rules FILE, or --drop CONDITION", ctx)
        if path is None and options["watch"]:
            raise click.UsageError("--watch is for a file of rules: give --rules FILE", ctx)
        given = tuple(_rule(ctx, name, value) for name, value in order)
        return cls(options["interface"], path, given, options["cut"])

    def read(self) -> RuleSet:
        """Give the rules as they are now; raises ConfigError for a file, and what ``check`` raises."""
        from sonde.filter.rule import RuleSet
        from sonde.filter.rule_file import read_rules

        return RuleSet(self.given) if self.path is None else read_rules(self.path)

    def check(self, rules: RuleSet) -> None:
        """Raise CommandError for rules that would cut the connection one is logged in on, unless told twice."""
        from sonde.filter.connection import connections
        from sonde.filter.lockout import first_cut

        if self.times_told > 1:
            return
        cut = first_cut(rules, self.interface, connections(os.environ))
        if cut is None:
            return
        again = "--cut-my-connection once more" if self.times_told else "--cut-my-connection twice"
        raise CommandError(
            f"filter {self.interface}",
            why=str(cut),
            hint=f"put a rule before it that allows {cut.remedy}, or give {again}",
        )

    def too_complex(self, error: ValueError) -> CommandError | ConfigError:
        """Make the error of rules that cannot be compiled."""
        if self.path is not None:
            return ConfigError(self.path, reason=str(error))
        return CommandError(f"filter {self.interface}", why=str(error), status=2)


def _rule(ctx: click.Context, name: str, value: Any) -> Rule:
    from sonde.filter.parser import ExpressionError, parse
    from sonde.filter.rate import read_rate
    from sonde.filter.rule import Rule

    flag = f"--{name.replace('_', '-')}"
    rate, condition = value if name == "rate_limit" else (None, value)
    try:
        action: Any = name.replace("_", "-")
        return Rule(action, parse(condition), None if rate is None else read_rate(rate))
    except ExpressionError as error:
        raise click.UsageError(f"{flag}: {error}", ctx) from None
    except ValueError as error:
        raise click.UsageError(f"{flag}: {error}", ctx) from None
