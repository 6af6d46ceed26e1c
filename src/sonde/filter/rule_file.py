"""The file of rules: TOML, a table ``[[rule]]`` for each, in their order."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sonde.errors import ConfigError
from sonde.filter.expression import Direction, Expression, Network, Networks
from sonde.filter.parser import ExpressionError, conjunction, parse, read_network
from sonde.filter.rate import Rate, read_rate
from sonde.filter.rule import ACTIONS, Action, Rule, RuleSet
from sonde.filter.text import read_text, shown
from sonde.nearest import nearest

RULES_MAX = 65_536
NETWORKS_MAX = 1_000_000
"""In one rule: a list of so many takes 25 s to compile, and 1 GB of memory meanwhile."""
DOTS_MAX = 1_000
"""Python's parser takes quadratic time for keys with many dots; those of networks stand in texts."""
TEXT_MAX = 200
_RULE = re.compile(r"\s*\[\[\s*rule\s*\]\]")
_QUOTED = re.compile(r""""[^"]*"|'[^']*'""")
_WRITTEN = {
    "protocol": "proto {}",
    "src_port": "src port {}",
    "dst_port": "dst port {}",
    "port": "port {}",
    "vlan": "vlan {}",
    "flags": "({})",
}
"""Keys that are words of the language → what they stand for."""
_APART = ("action", "rate", "name")
KEYS = (*_APART, "match", "src", "dst", "src_file", "dst_file", *_WRITTEN)


@dataclass(frozen=True, slots=True)
class Place:
    """A rule in a file, for messages."""

    file: str
    number: int
    line: int

    def refuse(self, key: str, why: str) -> ConfigError:
        """Make the error of one key."""
        return ConfigError(self.file, line=self.line, key=f"rule {self.number}, {key}", reason=why)


def read_rules(path: str) -> RuleSet:
    """Read a file of rules; raises ConfigError with file, line, key and reason, of all rules that are wrong."""
    text = read_text(path)
    _check_dots(path, text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _syntax(path, str(error)) from None
    except (RecursionError, ValueError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise ConfigError(path, reason=why) from None
    for name in document:
        if name != "rule":
            raise ConfigError(
                path,
                key=shown(name),
                reason=f"there is no such key{_meant(name, ('rule',))}: rules are tables [[rule]]",
            )
    tables = document.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, Mapping) for table in tables):
        raise ConfigError(path, key="rule", reason="it is no list of tables: begin each rule with [[rule]]")
    if not tables:
        raise ConfigError(path, reason="it has no rules: begin each with [[rule]]")
    if len(tables) > RULES_MAX:
        raise ConfigError(
            path,
            reason=f"it has {len(tables):,} rules, and {RULES_MAX:,} are the most: one rule may have many networks",
        )
    rules = tuple(_rules(path, tables, text))
    lists = [table[key] for table in tables for key in ("src_file", "dst_file") if key in table]
    return RuleSet(rules, files=tuple(dict.fromkeys((path, *(_beside(path, each) for each in lists)))))


def _check_dots(path: str, text: str) -> None:
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > DOTS_MAX and _QUOTED.sub("", line).count(".") > DOTS_MAX:
            why = f"it has more than {DOTS_MAX:,} dots outside of texts"
            raise ConfigError(path, line=number, reason=why)


def _rules(path: str, tables: list[Mapping[str, Any]], text: str) -> list[Rule]:
    lines = [number for number, line in enumerate(text.split("\n"), 1) if _RULE.match(line)]
    problems, rules = [], []
    for number, table in enumerate(tables, 1):
        place = Place(path, number, lines[number - 1] if len(lines) == len(tables) else 0)
        try:
            rules.append(_rule(place, table))
        except ConfigError as error:
            problems.append(error)
    if problems:
        raise ConfigError.of(problems[:10])
    return rules


def _rule(place: Place, table: Mapping[str, Any]) -> Rule:
    for key in table:
        if key not in KEYS:
            raise place.refuse(
                shown(key), f"there is no such key{_meant(key, KEYS)}: valid: {', '.join(KEYS)}"
            )
    action = table.get("action")
    if action not in ACTIONS:
        said = "is missing" if action is None else f"{shown(action)} is none{_meant(action, ACTIONS)}"
        raise place.refuse("action", f"{said}: give {', '.join(ACTIONS)}")
    conditions = _conditions(place, table)
    if not conditions:
        raise place.refuse("match", "it has no condition: give match, or src, dst, protocol, …")
    name = table.get("name", "")
    if not isinstance(name, str) or not name.isprintable() or len(name) > TEXT_MAX:
        raise place.refuse("name", f"{shown(name)} is wrong: give a text of one line")
    return Rule(action, conjunction(conditions), _rate(place, action, table.get("rate")), name)


def _rate(place: Place, action: Action, text: object) -> Rate | None:
    if (action == "rate-limit") != (text is not None):
        raise place.refuse(
            "rate", "is missing: give '100/s'" if text is None else f"action {action} takes no rate"
        )
    if text is None:
        return None
    if not isinstance(text, str):
        raise place.refuse("rate", f"{shown(text)} is wrong: give a text, as '100/s'")
    try:
        return read_rate(text)
    except ValueError as error:
        raise place.refuse("rate", str(error)) from None


def _conditions(place: Place, table: Mapping[str, Any]) -> list[Expression]:
    """Read all that has to hold; networks of a list and of a file are one list."""
    networks: dict[Direction, list[Network]] = {"src": [], "dst": []}
    found: list[Expression] = []
    for key, value in table.items():
        direction: Direction = "src" if key.startswith("src") else "dst"
        if key in ("src", "dst"):
            networks[direction] += _networks(place, key, value)
        elif key in ("src_file", "dst_file"):
            networks[direction] += _listed(place, key, value)
        elif key not in _APART:
            found.append(_condition(place, key, value))
    if sum(map(len, networks.values())) > NETWORKS_MAX:
        raise place.refuse("src, dst", f"there are more than {NETWORKS_MAX:,} networks")
    lists = [Networks(name, tuple(dict.fromkeys(each))) for name, each in networks.items() if each]
    return [*lists, *found]


def _condition(place: Place, key: str, value: Any) -> Expression:
    text = _words(place, key, value)
    try:
        return parse(_WRITTEN.get(key, "{}").format(text))
    except ExpressionError as error:
        # A column tells where only in what was written by hand.
        why = str(error) if key == "match" else str(error).partition(": ")[2]
        raise place.refuse(key, why) from None


def _words(place: Place, key: str, value: Any) -> str:
    """Write a key's value as words of the language; a list is one with commas."""
    items = value if isinstance(value, list) and key not in ("match", "flags") else [value]
    if not items or any(isinstance(item, bool) or not isinstance(item, str | int) for item in items):
        raise place.refuse(
            key,
            f"{shown(value)} is wrong: give a text{'' if key in ('match', 'flags') else ', a number, or a list of them'}",
        )
    text = ",".join(map(str, items))
    if not text.strip():
        raise place.refuse(key, "it is empty")
    return text


def _networks(place: Place, key: str, value: Any) -> list[Network]:
    items = value if isinstance(value, list) else [value]
    if not items:
        raise place.refuse(key, "it is empty: give networks, as ['10.0.0.0/8']")
    found: list[Network] = []
    for item in items:
        if not isinstance(item, str):
            raise place.refuse(key, f"{shown(item)} is wrong: give a text, as '10.0.0.0/8'")
        try:
            found.append(read_network(item.strip()))
        except ValueError as error:
            raise place.refuse(key, f"{shown(item)}: {error}") from None
    return found


def _listed(place: Place, key: str, value: Any) -> list[Network]:
    """Read a list of networks, one a line, from a file beside the file of rules; # begins a remark."""
    if not isinstance(value, str) or not value:
        raise place.refuse(key, f"{shown(value)} is wrong: give a file's path")
    path = _beside(place.file, value)
    found: list[Network] = []
    for number, line in enumerate(read_text(path).split("\n"), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        try:
            found.append(read_network(word))
        except ValueError as error:
            raise ConfigError(path, line=number, reason=f"{shown(word)}: {error}") from None
    if not found:
        raise ConfigError(path, reason="it has no networks: give one a line")
    return found


def _beside(path: str, name: str) -> str:
    return os.path.join(os.path.dirname(path), name)


def _syntax(path: str, why: str) -> ConfigError:
    found = re.search(r"^(.*) \(at line (\d+), column (\d+)\)$", why, re.DOTALL)
    line, column = (int(found[2]), f"column {found[3]}: ") if found else (0, "")
    said = (found[1] if found else why).strip()
    said = said if said.isprintable() else shown(said)
    return ConfigError(path, line=line, reason=f"{column}no TOML: {said[:1].lower()}{said[1:]}")


def _meant(word: object, known: tuple[str, ...]) -> str:
    near = nearest(word, known, 1) if isinstance(word, str) else []
    return f": did you mean {near[0]}?" if near else ""
