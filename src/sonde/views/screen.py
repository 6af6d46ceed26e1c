"""A terminal that is redrawn in place."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, TextIO

from sonde.records.accounting import Accounting
from sonde.views.drawing import Drawing
from sonde.views.line import Line
from sonde.views.page import Page

if TYPE_CHECKING:
    from rich.text import Text

Draw = Callable[[int, int], list[Line]]
"""Draws lines for a width and a height."""


class Screen:
    """The terminal's other screen, until ``leave``: there nothing is overwritten, whatever becomes of the window's size."""

    def __init__(self, file: TextIO) -> None:
        """Take over the terminal behind ``file``."""
        from rich.console import Console
        from rich.live import Live

        self._console = Console(file=file, highlight=False, markup=False, emoji=False, soft_wrap=True)
        # No thread of its own: a page is drawn when it comes.
        self._live = Live(console=self._console, screen=True, auto_refresh=False, vertical_overflow="crop")
        self._live.start()
        self._before = signal.signal(signal.SIGTSTP, self._suspend)

    def _suspend(self, number: int, _: FrameType | None) -> None:
        """Give the terminal back while Ctrl-Z has us stopped, and take it over again after that."""
        self._live.stop()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._suspend)
        self._live.start(refresh=True)

    def show(self, draw: Draw) -> None:
        """Draw in the place of what was there."""
        size = self._console.size
        self._live.update(_text(draw(size.width, size.height)), refresh=True)

    def leave(self, draw: Draw | None = None) -> None:
        """Give the terminal back; what ``draw`` makes stands below the command line like any output. Again is fine."""
        signal.signal(signal.SIGTSTP, self._before)
        self._live.stop()
        if draw is not None:
            size = self._console.size
            # One line is left for the prompt.
            self._console.print(_text(draw(size.width, size.height - 1)))


class ScreenWriter:
    """Redraws each page in place, and leaves the last one on the terminal."""

    def __init__(self, screen: Screen, drawing: Drawing) -> None:
        self._screen, self._drawing = screen, drawing
        self._last: Page | None = None
        # The first page comes after an interval; until then the terminal shows what is being measured.
        screen.show(lambda width, _: drawing.beginning(width))

    def write(self, page: Page) -> None:
        """Draw one page in the place of the one before."""
        self._last = page
        if not page.is_last:
            self._screen.show(self._draw)

    def close(self, accounting: Accounting) -> None:
        """Give the terminal back, with the last page on it."""
        self._screen.leave(self._draw if self._last else None)

    def _draw(self, width: int, height: int) -> list[Line]:
        return self._drawing.draw(self._last, width=width, height=height) if self._last else []


def _text(lines: list[Line]) -> Text:
    from rich.text import Text

    return Text("\n").join(Text.assemble(*line, no_wrap=True, overflow="crop", end="") for line in lines)
