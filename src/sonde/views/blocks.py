"""Pages of text, one under the other: for pipes and files."""

from __future__ import annotations

from typing import TextIO

from sonde.records.accounting import Accounting
from sonde.views.drawing import Drawing
from sonde.views.line import plain
from sonde.views.page import Page


class BlockWriter:
    """Writes each page as a block of lines, with an empty line between two."""

    def __init__(self, file: TextIO, drawing: Drawing) -> None:
        """Write to ``file``, which the caller closes."""
        self._file, self._drawing = file, drawing
        self._is_first = True

    def write(self, page: Page) -> None:
        """Write one block."""
        if not self._is_first:
            self._file.write("\n")
        self._is_first = False
        for line in self._drawing.draw(page):
            self._file.write(plain(line) + "\n")
        self._file.flush()

    def close(self, accounting: Accounting) -> None:
        """End; the last page has the final accounting under it."""
        self._file.flush()
