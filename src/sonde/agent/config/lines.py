"""The lines of a TOML file that keys are in: Python's parser does not tell."""

from __future__ import annotations

import re
import tomllib

from sonde.agent.config.key import Path

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_NAME = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_TABLE = re.compile(rf"[ \t]*\[\[?[ \t]*(?P<name>{_NAME})[ \t]*\]\]?")
_KEY = re.compile(rf"[ \t]*(?P<name>{_NAME})[ \t]*=[ \t]*(?P<value>.*)")


def lines_of(text: str) -> dict[Path, int]:
    """Find the line, from 1, of each key and each table that has one of its own; for valid TOML only."""
    found: dict[Path, int] = {}
    table: Path = ()
    closing = ""
    for number, line in enumerate(text.split("\n"), 1):
        if closing:
            # Inside a text of several lines, which may look like anything.
            closing = "" if closing in line else closing
        elif header := _TABLE.match(line):
            table = _parts(header["name"])
            _keep(found, table, number)
        elif match := _KEY.match(line):
            _keep(found, (*table, *_parts(match["name"])), number)
            quotes = match["value"][:3]
            if quotes in ('"""', "'''") and quotes not in match["value"][3:]:
                closing = quotes
    return found


def _keep(found: dict[Path, int], path: Path, line: int) -> None:
    """Keep a key's first line, and for the tables that it opens on its way, too."""
    for length in range(1, len(path) + 1):
        found.setdefault(path[:length], line)


def _parts(name: str) -> Path:
    """Take a dotted name apart, as TOML itself does."""
    parts = []
    table = tomllib.loads(f"{name} = 0")
    while isinstance(table, dict):
        ((part, table),) = table.items()
        parts.append(part)
    return tuple(parts)
