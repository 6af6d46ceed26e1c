"""Pages of text, one under the other: for pipes and files, and for a terminal that a command shares."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TextIO

from sonde.records.accounting import Accounting
from sonde.views.drawing import Drawing
from sonde.views.line import Span, plain
from sonde.views.page import Page


class BlockWriter:
    """Writes each page as a block of lines, with an empty line between two.

    ``width`` gives a terminal's width; without it lines are as long as they are.
    """

    def __init__(
        self,
        file: TextIO,
        drawing: Drawing,
        *,
        width: Callable[[], int] | None = None,
        paint: Callable[[Iterable[Span]], str] = plain,
    ) -> None:
        """Write to ``file``, which the caller closes."""
        self._file, self._drawing = file, drawing
        self._width, self._paint = width, paint
        self._is_first = True

    def write(self, page: Page) -> None:
        """Write one block."""
        if not self._is_first:
            self._file.write("\n")
        elif self._width is not None:
            # The terminal may have echoed ^C at the beginning of this line.
            self._file.write("\r\x1b[K")
        self._is_first = False
        for line in self._drawing.draw(page, width=self._width() if self._width else None):
            self._file.write(self._paint(line) + "\n")
        self._file.flush()

    def close(self, accounting: Accounting) -> None:
        """End; the last page has the final accounting under it."""
        self._file.flush()
