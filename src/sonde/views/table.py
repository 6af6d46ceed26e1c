"""Tables: columns as wide as what is in them, in no more room than there is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sonde.views.column import Shown, shown
from sonde.views.line import Line, cut_line, fitted, width_of
from sonde.views.page import Page, Row

_TEXT_WIDTH_MIN = 8
_ADDRESS_WIDTH_MIN = 15
_TITLE_WIDTH_MIN = 4
_GAP = 2
_WHOLE = 1 << 16
_ADDRESSES = ("address", "source", "destination")


@dataclass(slots=True)
class Table:
    """Draws the rows of a page; ``sort`` is the column that the order comes from.

    A column stays as wide as it once was, so that the next page does not jump.
    """

    sort: str = ""
    left_out: list[str] = field(default_factory=list)
    """Titles of the columns that had no room."""

    _widest: dict[str, int] = field(default_factory=dict)

    def draw(self, page: Page, *, width: int | None = None) -> list[Line]:
        """Draw the head and one line for each row; ``width`` None means as wide as it takes."""
        rows = page.rows
        columns = shown(page.columns, meanings=page.meanings, sample=_sample(rows, page.columns))
        cells = [[_cell(column, row, page) for column in columns] for row in rows]
        self.left_out.clear()
        for at, column in enumerate(columns):
            before = self._widest.get(column.name, 0)
            self._widest[column.name] = max([before, *(width_of(line[at]) for line in cells)])
        widths, gap = [max(width_of(each.title), self._widest[each.name]) for each in columns], _GAP
        if width is not None:
            least = self._leave_out(columns, width)
            widths, gap = squeezed(widths[: len(columns)], columns, width, least=least)
        head = [
            (
                fitted(column.title, widths[at], right=column.is_right),
                "bold underline" if column.name == self.sort else "bold",
            )
            for at, column in enumerate(columns)
        ]
        lines = [_joined(head, gap)]
        for row, line in zip(rows, cells, strict=True):
            is_other = bool(row.get("is_other"))
            spans = [
                (fitted(text, widths[at], right=column.is_right), _style(column, text, is_other=is_other))
                for at, (column, text) in enumerate(zip(columns, line, strict=False))
            ]
            lines.append(_joined(spans, gap))
        return lines if width is None else [cut_line(line, width) for line in lines]

    def _leave_out(self, columns: list[Shown], room: int) -> list[int]:
        """Take columns off the end where not even the least of all has room; gives how wide that is of those that stay."""
        least = [max(_TITLE_WIDTH_MIN, min(self._widest[each.name], _least(each))) for each in columns]
        while len(columns) > 1 and columns[-1].name != self.sort and sum(least) + len(least) - 1 > room:
            self.left_out.insert(0, columns.pop().title)
            least.pop()
        return least


def _sample(rows: Sequence[Row], names: Sequence[str]) -> Row:
    """Find one value that is known for each column."""
    found: Row = {}
    for name in names:
        found[name] = next((row[name] for row in rows if row.get(name) is not None), None)
    return found


def _cell(column: Shown, row: Row, page: Page) -> str:
    return column.cell(row.get(column.name), estimated=page.scale > 1)


def _style(column: Shown, text: str, *, is_other: bool) -> str:
    if is_other:
        return "italic"
    return "dim" if text == "-" else column.style


def _joined(spans: list[tuple[str, str]], gap: int) -> Line:
    line: Line = []
    for at, span in enumerate(spans):
        if at:
            line.append((" " * gap, ""))
        line.append(span)
    return line


def squeezed(
    widths: Sequence[int], columns: Sequence[Shown], room: int, *, least: Sequence[int]
) -> tuple[list[int], int]:
    """Take width from long text, the widest first, until all fits, then from the gaps, from titles, and from text again.

    Numbers are never cut: no column gets less than ``least``.
    """
    result, gap = list(widths), _GAP
    text = [at for at, column in enumerate(columns) if not column.is_right]

    def excess() -> int:
        return sum(result) + gap * (len(result) - 1) - room

    while excess() > 0 and (long := [at for at in text if result[at] > max(2 * _TEXT_WIDTH_MIN, least[at])]):
        result[max(long, key=lambda at: result[at])] -= 1
    if excess() > 0:
        gap = 1
    while excess() > 0 and (long := [at for at in range(len(result)) if result[at] > least[at]]):
        result[max(long, key=lambda at: (columns[at].is_right, result[at] - least[at]))] -= 1
    return result, gap


def _least(column: Shown) -> int:
    """Give how much of a column there has to be: all of a number, and of an address of IPv4, which else is another one."""
    if column.is_right:
        return _WHOLE
    return _ADDRESS_WIDTH_MIN if column.name.endswith(_ADDRESSES) else _TEXT_WIDTH_MIN


def grid(titles: Sequence[str], rows: Sequence[Sequence[Any]], *, right: Sequence[bool] = ()) -> list[Line]:
    """Draw a small table of text: what is neither ranked nor live."""
    sides = [*right, *([False] * (len(titles) - len(right)))]
    cells = [[str(value) for value in row] for row in rows]
    widths = [
        max(width_of(title), *(width_of(row[at]) for row in cells)) if cells else width_of(title)
        for at, title in enumerate(titles)
    ]
    head = [(fitted(title, widths[at], right=sides[at]), "bold") for at, title in enumerate(titles)]
    lines = [_joined(head, _GAP)]
    for row in cells:
        lines.append(
            _joined([(fitted(text, widths[at], right=sides[at]), "") for at, text in enumerate(row)], _GAP)
        )
    return lines
