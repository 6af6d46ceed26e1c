"""What a benchmark finds: rounds of figures of each contender, kept as JSON, from which page and plots are made.

A round's figures of all contenders were measured one after the other, so a ratio is the median of each round's own ratio:
what else a machine does in a minute is in both of its sides. A round in which a contender has no figure has None.
"""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["floor", "sonde", "peer"]
Better = Literal["less", "more", ""]


class Column(msgspec.Struct, frozen=True):
    """One figure: its name in JSON, its heading, its unit, and which of two figures is the better one."""

    key: str
    title: str
    unit: str
    better: Better = "less"


class Row(msgspec.Struct, frozen=True):
    """A contender's figures, one of each round; ``at`` is where on the part's axis, ``missing`` why there are none."""

    contender: str
    kind: Kind
    cells: dict[str, list[float | None]] = {}
    at: float = 0
    said: str = ""
    missing: str = ""

    def figures(self, key: str) -> list[float]:
        """Give the figures of the rounds that have one."""
        return [value for value in self.cells.get(key, ()) if value is not None]

    def median(self, key: str) -> float | None:
        """Give the middle of the rounds; None where it was not measured."""
        values = self.figures(key)
        return statistics.median(values) if values else None

    def spread(self, key: str) -> tuple[float, float]:
        """Give the lowest and the highest round."""
        values = self.figures(key)
        return min(values), max(values)


class Part(msgspec.Struct, frozen=True):
    """One benchmark: what was done, its columns, its rows.

    ``across`` names the axis where there is one, ``pairs`` which contender of sonde's does what a peer does, ``plots`` the
    columns that are drawn.
    """

    name: str
    title: str
    what: str
    columns: list[Column]
    rows: list[Row]
    across: str = ""
    pairs: dict[str, str] = {}
    plots: list[str] = []
    said: str = "what it said of loss"
    seconds: float = 0

    def row(self, contender: str, at: float = 0) -> Row | None:
        """Find a contender's row."""
        found = (row for row in self.rows if row.contender == contender and row.at == at)
        return next(found, None)

    def ratio(self, key: str, contender: str, to: str, at: float = 0) -> float | None:
        """Give the median of the ratios of rounds that have both; None where there is none, or the other's is not above nothing in every round.

        Of what is lost in noise the rounds that happen to be above it would be chosen, and by chance.
        """
        ours, theirs = self.row(contender, at), self.row(to, at)
        if ours is None or theirs is None or any(base <= 0 for base in theirs.figures(key)):
            return None
        rounds = zip(ours.cells.get(key, ()), theirs.cells.get(key, ()), strict=False)
        found = [value / base for value, base in rounds if value is not None and base is not None]
        return statistics.median(found) if found else None

    def kinds(self) -> dict[str, Kind]:
        """Name every contender, in the order of the rows."""
        return {row.contender: row.kind for row in self.rows}


class Results(msgspec.Struct):
    """All that a run found, and on which machine."""

    machine: dict[str, str]
    quick: bool
    parts: dict[str, Part]
    load_before: float = 0

    def write(self, path: Path) -> None:
        """Write JSON that a person can compare line by line."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(msgspec.json.format(msgspec.json.encode(_rounded(self)), indent=1) + b"\n")


def read(path: Path) -> Results:
    """Read what was written."""
    return msgspec.json.decode(path.read_bytes(), type=Results)


def _rounded(results: Results) -> object:
    """Leave five digits of each figure: a noisy machine has no more to tell."""
    plain = msgspec.to_builtins(results)
    for part in plain["parts"].values():
        for row in part["rows"]:
            row["cells"] = {
                key: [value if value is None else float(f"{value:.5g}") for value in found]
                for key, found in row["cells"].items()
            }
    return plain


def printed(part: Part) -> str:
    """Lay a part out for a terminal."""
    lines = [f"\n{part.title} ({part.seconds:.0f} s)"]
    place = f"{part.across:>12} " if part.across else ""
    titles = " ".join(f"{f'{column.title}, {column.unit}'.strip(', '):>22}" for column in part.columns)
    lines.append(f"{'':34}{place}{titles}")
    for row in part.rows:
        at = f"{row.at:12,g} " if part.across else ""
        if row.missing:
            lines.append(f"{row.contender:34}{at}not run: {row.missing}")
            continue
        cells = " ".join(f"{cell(row.median(column.key)):>22}" for column in part.columns)
        lines.append(f"{row.contender:34}{at}{cells}  {row.said}".rstrip())
    return "\n".join(lines)


def cell(value: float | None) -> str:
    """Write a figure with as many digits as mean something."""
    if value is None:
        return "–"
    if float(value).is_integer() or abs(value) >= 100:
        return f"{value:,.0f}"
    # What is small is not nothing.
    decimals = 1 if abs(value) >= 10 else 2 if abs(value) >= 0.01 else 3
    text = f"{value:.{decimals}f}"
    return "0.000" if text == "-0.000" else text
