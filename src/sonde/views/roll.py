"""Records as lines of text, under one heading, for as long as they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TextIO

from sonde.records.accounting import Accounting
from sonde.views import cell
from sonde.views.column import Shown, shown
from sonde.views.drawing import Caption
from sonde.views.equation import equation
from sonde.views.line import Line, Span, cut_line, fitted, plain, width_of
from sonde.views.page import MOMENTS, Page, Row

_WIDTHS = {
    "time": 15,
    "time_ns": 15,
    "pid": 5,
    "tid": 5,
    "comm": 12,
    "syscall": 12,
    "result": 6,
    "error": 6,
    "reason": 15,
    "function": 20,
    "source": 20,
    "destination": 20,
    "peer": 20,
    "end": 12,
}
_NARROW_WIDTHS = {"time": 12, "time_ns": 12, "comm": 8, "source": 15, "destination": 15, "peer": 15, "end": 6}
"""Where they are others on a narrow terminal."""

_UNIT_WIDTHS = {"_ns": 7, "_bytes": 8}
_WHOLE = frozenset({"source", "destination", "peer"})
"""Without their ends these say nothing: they are never cut for the sake of other columns."""

_LAYOUTS = ((120, "  ", False), (100, " ", False), (0, " ", True))
"""From how wide a terminal on, the gap between columns, and whether it is a narrow one."""

_LEARNT_WIDTH_MAX, _LEARNT_WIDTH_NARROW = 24, 12
"""A column grows up to here with what comes; a longer value moves its own line only."""


class RollWriter:
    """Writes each record as one line; columns widen as wider values come, long lists stand last.

    ``width`` gives a terminal's width, to which lines are cut; numbers are not, for they would be others: those at the end
    that have no room are left out, and that is said. Without it lines are as long as they are.
    """

    def __init__(
        self,
        file: TextIO,
        caption: Caption,
        *,
        width: Callable[[], int] | None = None,
        paint: Callable[[Iterable[Span]], str] = plain,
    ) -> None:
        """Write to ``file``, which the caller closes."""
        self._file, self._caption = file, caption
        self._width, self._paint = width, paint
        self._columns: list[Shown] = []
        self._widths: list[int] = []
        self._hidden = 0
        self._left_out: list[Shown] = []
        self._gap, self._is_narrow = "  ", False

    def write(self, page: Page) -> None:
        """Write the records of a page."""
        self._hidden = page.hidden
        if not page.rows:
            return
        room = self._width() if self._width else None
        if not self._columns:
            self._begin(page, room)
        for row in page.rows:
            self._put(self._line(row, room), room)
        self._file.flush()

    def close(self, accounting: Accounting) -> None:
        """Write the accounting below the records."""
        room = self._width() if self._width else None
        if room is not None:
            # The terminal has echoed ^C at the beginning of this line.
            self._file.write("\r\x1b[K")
        if not accounting.delivered:
            self._put([("nothing was seen", "dim")], room)
        if self._hidden:
            self._put([(f"… {self._hidden:,} more records came (--limit)", "dim")], room)
        if self._left_out:
            titles = ", ".join(column.title for column in reversed(self._left_out))
            self._put([(f"… no room for {titles} (a wider window has it)", "dim")], None)
        for line in equation(accounting, filtered=self._caption.filtered, width=room):
            self._put(line, None)
        self._file.flush()

    def _begin(self, page: Page, room: int | None) -> None:
        first = page.rows[0]
        columns = shown(page.columns, meanings=page.meanings, sample=first)
        # What is of any length goes last, where it does not push the others around.
        columns.sort(key=lambda column: isinstance(first.get(column.name), list))
        self._columns = columns
        self._lay_out(room)
        if self._is_narrow:
            self._columns = [
                replace(each, words=_short_clock) if each.name in MOMENTS else each for each in columns
            ]
        self._leave_out(room)
        self._put(self._joined([(column.title, "bold") for column in self._columns]), room)

    def _line(self, row: Row, room: int | None) -> Line:
        cells = [(column.cell(row.get(column.name)), column.style) for column in self._columns]
        widths = self._widths
        for at, (text, _) in enumerate(cells[:-1]):
            taken = len(text)
            if widths[at] < taken <= self._learnt_max(self._columns[at]):
                widths[at] = taken
        self._leave_out(room)
        return self._joined(cells[: len(self._columns)])

    def _lay_out(self, room: int | None) -> None:
        """Choose the roomiest of three ways in which all columns are there, or the narrowest."""
        for least, self._gap, self._is_narrow in _LAYOUTS:
            self._widths = [
                max(width_of(column.title), self._expected(column.name)) for column in self._columns
            ]
            if room is None or (room >= least and self._taken() <= room):
                return

    def _taken(self) -> int:
        return sum(self._widths) + len(self._gap) * (len(self._widths) - 1)

    def _leave_out(self, room: int | None) -> None:
        """Take the numbers off the end for which there is no room."""
        while room is not None and len(self._columns) > 1 and self._columns[-1].is_right:
            if self._taken() <= room:
                return
            self._left_out.append(self._columns.pop())
            self._widths.pop()

    def _learnt_max(self, column: Shown) -> int:
        return _LEARNT_WIDTH_NARROW if self._is_narrow and column.name not in _WHOLE else _LEARNT_WIDTH_MAX

    def _joined(self, cells: list[Span]) -> Line:
        line: Line = []
        last = len(cells) - 1
        for at, (text, style) in enumerate(cells):
            width, right = self._widths[at], self._columns[at].is_right
            # Where there is room a longer value is not cut: it moves the rest of its own line.
            is_cut = self._is_narrow and not right and at < last and self._columns[at].name not in _WHOLE
            if is_cut or ((at < last or right) and len(text) < width):
                text = fitted(text, width, right=right)
            if at:
                line.append((self._gap, ""))
            line.append((text, style))
        return line

    def _put(self, line: Line, room: int | None) -> None:
        self._file.write(self._paint(cut_line(line, room) if room else line) + "\n")

    def _expected(self, name: str) -> int:
        if self._is_narrow and name in _NARROW_WIDTHS:
            return _NARROW_WIDTHS[name]
        by_unit = next((width for unit, width in _UNIT_WIDTHS.items() if name.endswith(unit)), 0)
        width = _WIDTHS.get(name, by_unit)
        return min(width, _LEARNT_WIDTH_NARROW) if self._is_narrow else width


def _short_clock(time_ns: int) -> str:
    return cell.clock(time_ns, digits=3)
