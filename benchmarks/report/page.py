"""Make docs/comparison.md from results: ``python -m benchmarks.report.page RESULTS.json FOLDER``; nothing in it is written by hand.

What is to be said about figures is beside them in the parts; why sonde loses where it does is in ``reasons``.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

from benchmarks import event_kinds, results
from benchmarks.contenders.tasks import TOOLS
from benchmarks.report import matrix, plots, reasons, targets
from benchmarks.results import Column, Part, Results, Row, cell

LOSES_FROM = 1.05
WHOLE = 99.95
"""Percent from which a table shows 100."""
ORDER = (
    *(
        "syscalls",
        "programs",
        "tools",
        "virtual",
        "crowds",
        "streams",
        "opens",
        "execs",
        "connections",
        "disk",
        "profiles",
    ),
    *("switches", "packets", "probes", "rules", "first", "safety", "ease", "sizes", "reach", "delivery"),
)
"""The parts; a module may give several."""
QUICK = "A quick run: one round of little, which tells what runs, and no figure to rely on."
INTRODUCTION = """\
# eBPF through sonde, beside everything else

Written by `make bench`, from figures of one run; `make bench` on your machine writes the same page with yours. Rounds go A B C … C B A …; a cell is the
median of the rounds, then the lowest and the highest. A round's figure of a loop of system calls is the least of three loops. Ratios are the medians of each round's own ratio, so that what else the machine did is in
both sides; where the other's figure is not above nothing in every round there is none. Floors, *no tracer* and *an empty program on the same hook*, are black lines in the plots: what lies between them and a bar is what a tool takes
by itself. Tools that could not run here are named with the words in which they said so.

Tools that look at the whole machine run on its first CPU, loops of one thread on its last. Where a tool asks for kernel headers and this
kernel has none, Debian's of another version are given to it. strace and py-spy start the work themselves here, and have figures of the work alone. A virtual machine, whose kernel has its headers, has a table of its own, of
ratios within it: its processor is emulated, so that a program costs what emulating it costs, and a ratio there is not one here.
"""


def page(found: Results) -> str:
    """Write the page."""
    lines = [
        INTRODUCTION,
        _machine(found),
        *_not_measured(found),
        "## What is to be reached\n",
        *aims(found),
    ]
    lines += ["\n## Where sonde loses\n", *losses(found)]
    for part in found.parts.values():
        lines += _part(part)
    lines += matrix.lines(found)
    return "\n".join(lines).rstrip() + "\n"


def write(found: Results, folder: Path, *, drawn: Iterable[str] | None = None) -> None:
    """Write the page, and the plots of these parts, else of all, which take a second each."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in found.parts if drawn is None else drawn:
        plots.draw(found.parts[name], folder / "comparison" / f"{name}.svg")
    (folder / "comparison.md").write_text(page(found))


def _machine(found: Results) -> str:
    told = "; ".join(f"{name} {value}" for name, value in found.machine.items())
    quick = f" {QUICK}" if found.quick else ""
    return f"This machine {told}. Its load before this was {found.load_before:.2f}.{quick}\n"


def _not_measured(found: Results) -> Iterator[str]:
    """Name the parts that the page has nothing of."""
    lacking = [name for name in ORDER if name not in found.parts]
    if lacking:
        yield f"Not measured yet, and not on this page: {', '.join(lacking)}.\n"


def aims(found: Results) -> list[str]:
    """Write what is to be reached, and whether it is."""
    return [
        "| | to reach | here | reached |",
        "|---|---|---|---|",
        *(each.line(found) for each in targets.TARGETS),
        *(f"\n{said}" for said in [targets.beyond(found)] if said),
    ]


def losses(found: Results) -> Iterator[str]:
    """Name every figure in which a peer that does the same is better by more than a twentieth, and why."""
    none = True
    for part in found.parts.values():
        for ours in sorted(set(part.pairs.values())):
            row = part.row(ours)
            if row is not None and row.missing:
                none = False
                yield f"* **{part.title}**: sonde has nothing for it: {row.missing}"
        for column in part.columns:
            behind = _behind(part, column) if column.better else {}
            if behind:
                none = False
                told = ", ".join(_told(part, peer, at_places) for peer, at_places in behind.items())
                along = f", by {part.across}" if part.across else ""
                yield f"* **{part.title}{along}: {column.title}.** Behind {told}. {reasons.why(part.name, column.key)}"
    if none:
        yield "Nowhere in this run by more than a twentieth."


def _behind(part: Part, column: Column) -> dict[str, dict[float, float]]:
    """Give for each peer that sonde is behind of the places on the axis at which it is, all of them, and by how much."""
    behind = dict[str, dict[float, float]]()
    for peer, at, ratio in _ratios(part, column):
        if ratio > LOSES_FROM:
            behind.setdefault(peer, {})[at] = ratio
    return behind


def _ratios(part: Part, column: Column) -> Iterator[tuple[str, float, float]]:
    """Give for each peer and place sonde's figure over its, or its over sonde's where more is better: above 1 sonde loses."""
    places = sorted({row.at for row in part.rows if row.cells})
    for peer, ours in _compared(part).items():
        for at in places:
            ratio = part.ratio(column.key, ours, peer, at)
            if ratio:
                yield peer, at, 1 / ratio if column.better == "more" else ratio
            elif column.better == "less" and _is_something_to_nothing(part, column, ours, peer, at):
                yield peer, at, math.inf


def _is_something_to_nothing(part: Part, column: Column, ours: str, peer: str, at: float) -> bool:
    """Tell whether sonde takes something in every round of which the other takes nothing: no ratio, and a loss."""
    row, other = part.row(ours, at), part.row(peer, at)
    something = row.figures(column.key) if row else []
    nothing = other.figures(column.key) if other else []
    return bool(something) and bool(nothing) and min(something) > 0 and max(nothing) == 0


def _compared(part: Part) -> dict[str, str]:
    """Give the part's pairs; where it names none and sonde has one row, all are compared with that."""
    ours = [name for name, kind in part.kinds().items() if kind == "sonde"]
    if part.pairs or len(ours) != 1:
        return part.pairs
    return {name: ours[0] for name, kind in part.kinds().items() if kind == "peer"}


def _told(part: Part, peer: str, ratios: dict[float, float]) -> str:
    """Write by how much, from the least to the most, and at which places."""
    if math.inf in ratios.values():
        return f"{peer} (which takes none)"
    bounds = dict.fromkeys(f"{each:,.2f}" for each in (min(ratios.values()), max(ratios.values())))
    everywhere = {row.at for row in part.rows if row.cells} == ratios.keys()
    places = "all" if everywhere else ", ".join(map(_place, ratios))
    return f"{peer} by {' … '.join(bounds)}" + (f" (at {places})" if part.across else "")


def _part(part: Part) -> Iterator[str]:
    yield f"\n## {part.title}\n"
    yield part.what
    rounds = max((len(values) for row in part.rows for values in row.cells.values()), default=0)
    yield f"{rounds} rounds.\n" if rounds > 1 else "One round.\n"
    if plots.columns_of(part):
        yield f"![{part.title}](comparison/{part.name}.svg)\n"
    if part.across:
        for column in part.columns:
            yield from _along(part, column)
    else:
        yield from _table(part)
    yield from _missing(part)
    yield from _pairs(part)


def _table(part: Part) -> Iterator[str]:
    said = any(row.said for row in part.rows)
    heads = [_heading(column) for column in part.columns] + [part.said] * said
    yield f"| | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    for row in part.rows:
        if row.cells:
            cells = [_cell(row, column) for column in part.columns] + [row.said] * said
            yield f"| {_name(row)} | {' | '.join(cells)} |"


def _along(part: Part, column: Column) -> Iterator[str]:
    """One table for a column: contenders downwards, the axis to the right."""
    places = sorted({row.at for row in part.rows})
    heading = _heading(column)
    yield f"\n{heading[:1].upper()}{heading[1:]}, by {part.across}:\n"
    yield f"| | {' | '.join(map(_place, places))} |"
    yield "|---" * (len(places) + 1) + "|"
    for name in part.kinds():
        rows = [part.row(name, place) for place in places]
        if any(row and row.figures(column.key) for row in rows):
            cells = [_cell(row, column) if row else "–" for row in rows]
            first = next(row for row in rows if row)
            yield f"| {_name(first)} | {' | '.join(cells)} |"
    if column is part.columns[-1]:
        yield from _said(part)


def _said(part: Part) -> Iterator[str]:
    said = [row for row in part.rows if row.said and row.kind != "floor"]
    if said:
        yield f"\nWhat they said, at the most {part.across} at which they said it:\n"
        last = {row.contender: row for row in said}
        yield from (f"* {row.contender} ({_place(row.at)}): {row.said}" for row in last.values())
    silent: dict[str, list[str]] = {}
    for row in part.rows:
        if row.kind == "peer" and not row.said and _lacks(row):
            silent.setdefault(row.contender, []).append(_place(row.at))
    if silent:
        told = ", ".join(f"{name} (at {', '.join(places)})" for name, places in silent.items())
        yield f"\nLacked some, and said nothing of it: {told}."


def _lacks(row: Row) -> bool:
    shares = [row.median(key) for key in ("found", "delivered")]
    return any(share is not None and share < WHOLE for share in shares)


def _missing(part: Part) -> Iterator[str]:
    missing: dict[tuple[str, str], list[str]] = {}
    for row in part.rows:
        if row.missing:
            missing.setdefault((row.contender, row.missing), []).append(_place(row.at))
    absent = [name for name in _compared_now(part.name) if name not in part.kinds()]
    if missing or absent:
        yield "\nNot run:\n"
    yield from (f"* {name}: not in this run" for name in absent)
    for (name, why), places in missing.items():
        where = f" ({part.across} {', '.join(places)})" if part.across else ""
        yield f"* {name}{where}: {why}"


@cache
def _compared_now(part: str) -> tuple[str, ...]:
    """Name whom a part compares; whoever came to it since a run is not passed over on that run's page."""
    found = {
        kind.name: tuple(tool.contender.name for tool in kind.tools)
        for kind in event_kinds.kinds(quick=False)
    }
    return {**found, "ease": TOOLS}.get(part, ())


def _pairs(part: Part) -> Iterator[str]:
    """Write sonde's figures as ratios to those of who does the same."""
    found = {
        f"{ours} to {peer}": [part.ratio(column.key, ours, peer) for column in part.columns]
        for peer, ours in part.pairs.items()
    }
    found = {name: ratios for name, ratios in found.items() if any(ratios)}
    if part.across or not found:
        return
    yield "\nSonde's to that of who does the same; below 1 sonde takes less:\n"
    yield f"| | {' | '.join(_heading(column) for column in part.columns)} |"
    yield "|---" * (len(part.columns) + 1) + "|"
    yield from (f"| {name} | {' | '.join(map(cell, ratios))} |" for name, ratios in found.items())


def _heading(column: Column) -> str:
    return f"{column.title}, {column.unit}".rstrip(", ")


def _place(at: float) -> str:
    """Write a place on an axis as the text beside it does: 1,000,000 and not 1e+06."""
    return f"{at:,.0f}" if float(at).is_integer() else f"{at:g}"


def _name(row: Row) -> str:
    return f"**{row.contender}**" if row.kind == "sonde" else row.contender


def _cell(row: Row, column: Column) -> str:
    middle = row.median(column.key)
    if middle is None:
        return "–"
    low, high = row.spread(column.key)
    spread = f" ({cell(low)} … {cell(high)})" if len(row.figures(column.key)) > 1 and low != high else ""
    return f"{cell(middle)}{spread}"


def main() -> None:
    """Run from the command line."""
    found, folder = results.read(Path(sys.argv[1])), Path(sys.argv[2])
    write(found, folder)


if __name__ == "__main__":
    main()
