"""Which writer a measurement gets: its format, and whether a terminal is there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from sonde.cli.standard_streams import say

if TYPE_CHECKING:
    from sonde.cli.destination import Destination
    from sonde.views.drawing import Body, Caption
    from sonde.views.line import Span
    from sonde.views.page import Writer


class Shown(Protocol):
    """What a writer has to know of what it writes: a ``Measurement``, or a filter."""

    @property
    def format(self) -> str: ...
    @property
    def destination(self) -> Destination: ...
    @property
    def caption(self) -> Caption: ...
    @property
    def is_live(self) -> bool: ...


def machine_writer(asked: Shown, columns: Sequence[str]) -> Writer | None:
    """Make the writer of a format for machines; None where a person reads."""
    if asked.format == "json":
        from sonde.views.json import JsonWriter

        return JsonWriter(asked.destination.file)
    if asked.format == "csv":
        from sonde.views.csv import CsvWriter

        return CsvWriter(asked.destination.file, columns, say)
    return None


def writer(asked: Shown, body: Callable[[], Body], *, columns: Sequence[str], noun: str) -> Writer:
    """Make the writer of pages: for a machine, for a terminal that is redrawn, or for a pipe.

    ``body`` makes what draws, where a person reads: what it takes is not loaded for a machine.
    """
    machine = machine_writer(asked, columns)
    if machine is not None:
        return machine
    from sonde.views.drawing import Drawing

    drawing = Drawing(asked.caption, body(), noun)
    if asked.is_live:
        from sonde.views.screen import Screen, ScreenWriter

        screen = Screen(asked.destination.file)
        asked.destination.adopt(screen.leave)
        return ScreenWriter(screen, drawing)
    from sonde.views.blocks import BlockWriter

    return BlockWriter(asked.destination.file, drawing, width=terminal_width(asked), paint=painter(asked))


def ranked_body(sort: str) -> Body:
    """Make what draws a table with its largest rows first."""
    from sonde.views.drawing import RankedBody
    from sonde.views.table import Table

    return RankedBody(Table(sort))


def terminal_width(asked: Shown) -> Callable[[], int] | None:
    """Give what tells a terminal's width; None where lines are as long as they are."""
    return asked.destination.width if asked.destination.is_terminal else None


def painter(asked: Shown) -> Callable[[Iterable[Span]], str]:
    """Give what turns a line into text, with colours where they are wanted."""
    from sonde.views.line import painted, plain

    return painted if asked.destination.has_colour else plain
