"""What is drawn for a page: a heading, the view's own lines, and the accounting under them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Protocol

from sonde.views import cell
from sonde.views.bars import Bars
from sonde.views.equation import equation
from sonde.views.line import Line, cut_line, plain, sentence, width_of
from sonde.views.page import Page
from sonde.views.table import Table

_CHROME_LINES = 3  # the heading, what was left out, one line of accounting at least
_ROWS_LINES_MIN = 2  # the titles, one row


@dataclass(frozen=True, slots=True)
class Caption:
    """What stands around a view: its ``title``, what was asked for (``request``), and why events are ``filtered``.

    ``notes`` gives lines below the heading: what is so now.
    """

    title: str
    request: str = ""
    filtered: str = ""
    notes: Callable[[], Sequence[str]] = tuple


class Body(Protocol):
    """Draws the rows of a page."""

    def lines(self, page: Page, *, width: int | None, height: int | None) -> tuple[list[Line], int]:
        """Draw in the room there is; gives the lines, and how many rows found no room."""
        ...


@dataclass(frozen=True, slots=True)
class RankedBody:
    """The rows of ``top``."""

    table: Table

    def lines(self, page: Page, *, width: int | None, height: int | None) -> tuple[list[Line], int]:
        """Draw the rows that fit; the row of ``other`` stays."""
        rows = page.rows
        if height is not None and len(rows) > height - 1:
            # It is behind all the others.
            others = list(takewhile(lambda row: row.get("is_other"), reversed(rows)))
            rows = [*rows[: max(0, height - 1 - len(others))], *reversed(others)]
        fitting = Page(
            page.columns, list(rows), page.time_ns, page.accounting, page.hidden, page.scale, page.meanings
        )
        lines, hidden = self.table.draw(fitting, width=width), len(page.rows) - len(rows)
        note = f"… no room for {', '.join(self.table.left_out)} (a wider window has it)"
        if self.table.left_out and rows and (height is None or height > _ROWS_LINES_MIN):
            if len(lines) == height:
                lines.pop(-2)
                hidden += 1
            lines.append([(note, "dim")])
        return lines, hidden


@dataclass(frozen=True, slots=True)
class BarsBody:
    """The histograms of ``hist``."""

    bars: Bars

    def lines(self, page: Page, *, width: int | None, height: int | None) -> tuple[list[Line], int]:
        """Draw the groups that fit."""
        lines, drawn = self.bars.draw(page, width=width, height=height)
        return lines, len(page.rows) - drawn


@dataclass(frozen=True, slots=True)
class Drawing:
    """Draws whole pages; ``noun`` is what the rows are called."""

    caption: Caption
    body: Body
    noun: str = "rows"

    def draw(self, page: Page, *, width: int | None = None, height: int | None = None) -> list[Line]:
        """Draw a page in the room of a terminal, or in as much as it takes."""
        foot = equation(page.accounting, filtered=self.caption.filtered, width=width)
        if page.scale > 1:
            foot.insert(0, [(f"~ estimates: 1 in {page.scale:,} events was sampled", "yellow")])
        foot += [[(line, "yellow")] for remark in page.remarks for line in sentence(remark, width)]
        notes: list[Line] = [[(note, "dim")] for note in self.caption.notes()]
        room = (
            None
            if height is None
            else max(_ROWS_LINES_MIN, height - _CHROME_LINES - len(notes) - len(foot) + 1)
        )
        body, left_out = self.body.lines(page, width=width, height=room)
        if not page.rows:
            body = [[("nothing so far" if not page.is_last else "nothing was seen", "dim")]]
        hidden = page.hidden + left_out
        more: list[Line] = [[(self._more(hidden, is_room=left_out > 0), "dim")]] if hidden else []
        lines = [self._heading(page.time_ns, width), *notes, *body, *more, *foot]
        # The last page is not redrawn: what is longer than a line may then take two.
        return lines if width is None or page.is_last else [cut_line(line, width) for line in lines]

    def beginning(self, width: int) -> list[Line]:
        """Draw what there is to say before the first page."""
        now = time.time_ns()
        notes: list[Line] = [cut_line([(note, "dim")], width) for note in self.caption.notes()]
        return [self._heading(now, width), *notes, [("measuring …", "dim")]]

    def _more(self, hidden: int, *, is_room: bool) -> str:
        how = "a larger window shows more" if is_room else "--limit 0 shows all"
        return f"… {hidden:,} more {self.noun} ({how})"

    def _heading(self, time_ns: int, width: int | None) -> Line:
        clock = cell.clock(time_ns)
        line: Line = [(self.caption.title, "bold")]
        if self.caption.request:
            line.append((f" {self.caption.request}", "cyan"))
        if width is None:
            return [(f"{clock}  ", "dim"), *line]
        room = width - len(clock) - 1
        line = cut_line(line, room)
        blanks = width - width_of(plain(line)) - len(clock)
        return [*line, (" " * max(1, blanks), ""), (clock, "dim")]
