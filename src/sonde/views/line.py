"""Lines of styled text: drawn once, written to a terminal with colour and to a pipe without."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

Span = tuple[str, str]
"""A piece of text and its style, in rich's words (``bold red``; empty for none)."""

Line = list[Span]

ELLIPSIS = "…"


def plain(line: Iterable[Span]) -> str:
    """Give a line's text alone, without blanks at the end."""
    return "".join(text for text, _ in line).rstrip()


def width_of(text: str) -> int:
    """Count the columns that a text takes in a terminal: wide characters take two, combining ones none."""
    if text.isascii():
        return len(text)
    return sum(_cells(each) for each in text)


def _cells(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Make a text exactly ``width`` columns wide: padded, or cut with an ellipsis."""
    if len(text) <= width and text.isascii():
        return text.rjust(width) if right else text.ljust(width)
    taken = width_of(text)
    if taken > width:
        text = cut(text, width)
        taken = width_of(text)
    blanks = " " * (width - taken)
    return blanks + text if right else text + blanks


def cut(text: str, width: int) -> str:
    """Cut a text that is too wide; its last column then holds an ellipsis."""
    if width_of(text) <= width:
        return text
    if width <= 0:
        return ""
    room, kept = width - 1, []
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept.append(character)
    return "".join(kept) + ELLIPSIS


def cut_line(line: Line, width: int) -> Line:
    """Cut a line of spans to a width."""
    room, kept = width, Line()
    for position, (text, style) in enumerate(line):
        rest = sum(width_of(each) for each, _ in line[position:])
        if rest <= room:
            return kept + line[position:]
        taken = width_of(text)
        if taken >= room:
            kept.append((cut(text + ELLIPSIS, room), style))
            return kept
        kept.append((text, style))
        room -= taken
    return kept


def wrapped(line: Line, width: int, *, indent: int = 2) -> list[Line]:
    """Break a line between its spans so that each piece fits, later ones indented."""
    lines: list[Line] = [[]]
    room = width
    for text, style in line:
        taken = width_of(text.rstrip())
        if taken > room and lines[-1]:
            lines.append([(" " * indent, "")])
            room = width - indent
            text = text.lstrip(" ;")
        lines[-1].append((text, style))
        room -= width_of(text)
    return lines


def sentence(text: str, width: int | None) -> list[str]:
    """Break a sentence between its words into lines of a width, later ones indented; None: one line."""
    if width is None:
        return [text]
    import textwrap

    return textwrap.wrap(text, max(20, width), subsequent_indent="  ")


_SGR = {
    "bold": "1",
    "dim": "2",
    "italic": "3",
    "underline": "4",
    "red": "31",
    "green": "32",
    "yellow": "33",
    "cyan": "36",
}


def painted(line: Iterable[Span]) -> str:
    """Give a line with its styles as a terminal's escape sequences."""
    return "".join(
        f"\x1b[{';'.join(_SGR[word] for word in style.split())}m{text}\x1b[0m" if style else text
        for text, style in line
    ).rstrip()
