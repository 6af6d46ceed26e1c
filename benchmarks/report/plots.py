"""The plots of the comparison, as SVG: bars with their spread, lines along an axis, and the floors in each of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from benchmarks.results import Column, Kind, Part, Row

# Text stays text, and the same figures give the same file.
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "sonde", "font.size": 9, "axes.axisbelow": True}
COLOURS: dict[Kind, str] = {"sonde": "#d9480f", "peer": "#748ca3", "floor": "#212529"}
PEERS = ("#364fc7", "#2b8a3e", "#862e9c", "#0b7285", "#846358", "#c2255c")
"""Colours of lines, of which several may lie close; a bar has its name beside it."""
LINES = ("-", "--", ":", "-.")
LOGARITHMIC_FROM, LOGARITHMIC_WITH_FLOORS_FROM = 30, 10
"""From these ratios of the largest to the smallest; lines next to their floors would be one line with them."""
PANEL_WIDTH, BAR_HEIGHT, LINE_HEIGHT, LEGEND_HEIGHT = 4.4, 0.27, 3.4, 0.17
LEGEND_ACROSS = 4


def columns_of(part: Part) -> list[Column]:
    """Give the columns that are drawn: those of its plots that anybody has a figure of."""
    return [column for column in part.columns if column.key in part.plots and _measured(part, column)]


def draw(part: Part, path: Path) -> None:
    """Draw a part's columns beside each other; nothing where it has none to draw."""
    columns = columns_of(part)
    if not columns:
        return
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.use("svg")
    mpl.rcParams.update(STYLE)
    across = 2 if len(columns) > 1 else 1
    down = -(-len(columns) // across)
    contenders = [name for name, kind in part.kinds().items() if kind != "floor" and _has(part, name)]
    height = LINE_HEIGHT if part.across else 0.9 + BAR_HEIGHT * len(contenders)
    figure = Figure(layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).flatten()
    for panel, column in zip(panels, columns, strict=False):
        if part.across:
            _lines(panel, part, column)
        else:
            _bars(panel, part, column, contenders)
    for panel in panels[len(columns) :]:
        panel.set_axis_off()
    under = _legend(figure, panels)
    figure.set_size_inches(PANEL_WIDTH * across + 1.2, height * down + under)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})


def _legend(figure: Any, panels: Any) -> float:
    """Name the lines of all panels once, below them, where no bar and no line is covered; gives the height that it takes."""
    named = {
        name: line for panel in panels for line, name in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if not named:
        return 0
    across = min(LEGEND_ACROSS, len(named))
    figure.legend(named.values(), named.keys(), loc="outside lower center", ncols=across, fontsize=7)
    return LEGEND_HEIGHT * (-(-len(named) // across) + 1)


def _measured(part: Part, column: Column) -> bool:
    return any(row.figures(column.key) for row in part.rows)


def _has(part: Part, contender: str) -> bool:
    return any(row.contender == contender and row.cells for row in part.rows)


def _bars(panel: Any, part: Part, column: Column, contenders: list[str]) -> None:
    """One bar for each contender, from 0, whiskers to the lowest and highest round; floors as lines through all."""
    rows = [row for name in reversed(contenders) if (row := part.row(name)) and row.figures(column.key)]
    medians = [_median(row, column) for row in rows]
    panel.barh(
        [row.contender for row in rows],
        medians,
        xerr=_whiskers(rows, column),
        color=[COLOURS[row.kind] for row in rows],
        error_kw={"elinewidth": 0.8, "capsize": 2},
        height=0.7,
    )
    positive = [each for each in medians if each > 0]
    if positive and max(positive) / min(positive) > LOGARITHMIC_FROM:
        panel.set_xscale("log")
    _floors(panel, part, column, upright=True)
    panel.set_title(_title(column), fontsize=9)
    panel.grid(axis="x", linewidth=0.3)
    panel.minorticks_off()
    panel.tick_params(labelsize=8)


def _whiskers(rows: list[Row], column: Column) -> list[list[float]]:
    spreads = [(_median(row, column), row.spread(column.key)) for row in rows]
    return [[middle - low for middle, (low, _) in spreads], [high - middle for middle, (_, high) in spreads]]


def _floors(panel: Any, part: Part, column: Column, *, upright: bool) -> None:
    floors = [row for row in part.rows if row.kind == "floor" and row.figures(column.key)]
    for row, style in zip(floors, LINES, strict=False):
        if panel.get_xscale() == "log" and _median(row, column) <= 0:
            # Such an axis has no place for it, and a legend would name what is not there.
            continue
        line = panel.axvline if upright else panel.axhline
        line(
            _median(row, column), color=COLOURS["floor"], linestyle=style, linewidth=0.9, label=row.contender
        )


def _lines(panel: Any, part: Part, column: Column) -> None:
    """One line for each contender along the part's axis."""
    # A contender has the same marker and colour in every panel.
    peers = itertools.cycle(PEERS)
    for (name, kind), marker in zip(part.kinds().items(), itertools.cycle("osv^D<>ph*X"), strict=False):
        colour = next(peers) if kind == "peer" else COLOURS[kind]
        rows = [row for row in part.rows if row.contender == name and row.figures(column.key)]
        if not rows:
            continue
        panel.plot(
            [row.at for row in rows],
            [_median(row, column) for row in rows],
            color=colour,
            linestyle="--" if kind == "floor" else "-",
            marker=marker,
            markersize=4,
            linewidth=1.6 if kind == "sonde" else 0.9,
            label=name,
        )
    panel.set_xscale("log")
    values = [each for row in part.rows for each in row.figures(column.key) if each > 0]
    floors = any(row.kind == "floor" and row.figures(column.key) for row in part.rows)
    if values and max(values) / min(values) > (LOGARITHMIC_WITH_FLOORS_FROM if floors else LOGARITHMIC_FROM):
        panel.set_yscale(
            "log" if len(values) == sum(len(row.figures(column.key)) for row in part.rows) else "symlog"
        )
    panel.set_title(_title(column), fontsize=9)
    panel.set_xlabel(part.across, fontsize=8)
    panel.grid(linewidth=0.3)
    panel.minorticks_off()
    panel.tick_params(labelsize=8)


def _median(row: Row, column: Column) -> float:
    value = row.median(column.key)
    assert value is not None
    return value


def _title(column: Column) -> str:
    return f"{column.title}, {column.unit}".rstrip(", ")
