"""Histograms as bars: one line a bucket, its range in words, its count, and how it compares."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sonde.enrich.duration import UNIT_NS
from sonde.records.metrics import DURATION_SCALE
from sonde.views import cell
from sonde.views.line import Line, cut, cut_line, fitted
from sonde.views.page import Page, Row

_EIGHTHS = " ▏▎▍▌▋▊▉"
_FULL = "█"
_BAR_WIDTH = 40
_BUCKETS_MAX = 24
_BUCKETS_MIN = 8  # fewer lines than that show no distribution
_RANGE_WIDTH = 22


@dataclass(frozen=True, slots=True)
class Bars:
    """Draws the rows of a histogram page; ``by`` are the columns that name a group, ``what`` names one of all."""

    by: tuple[str, ...]
    what: str = ""

    def draw(
        self, page: Page, *, width: int | None = None, height: int | None = None
    ) -> tuple[list[Line], int]:
        """Draw group after group; with a ``height`` only those that fit, the first one always.

        Gives the lines, and how many groups they show.
        """
        bar_width = min(_BAR_WIDTH, max(4, (width or 100) - _RANGE_WIDTH - 14))
        lines: list[Line] = []
        for drawn, row in enumerate(page.rows):
            # A group takes a heading, and a blank line before it.
            left = _BUCKETS_MAX if height is None else height - len(lines) - (2 if lines else 1)
            if lines and left < _BUCKETS_MIN:
                return lines, drawn
            group = self._group(row, page, buckets_max=min(_BUCKETS_MAX, max(1, left)), bar_width=bar_width)
            lines += [[], *group] if lines else group
            if width is not None:
                lines = [cut_line(line, width) for line in lines]
        return lines, len(page.rows)

    def _group(self, row: Row, page: Page, *, buckets_max: int, bar_width: int) -> list[Line]:
        edges, counts = coarser(row["bounds_ns"], row["counts"], buckets_max=buckets_max)
        most = max(counts)
        mark = "~" if page.scale > 1 else ""
        lines = [self._head(row, mark)]
        for low, high, count in zip(edges, edges[1:], counts, strict=False):
            words = f"{cell.duration(low):>9} … {cell.duration(high):>9}"
            lines.append(
                [
                    (fitted(words, _RANGE_WIDTH, right=True), "dim"),
                    ("  ", ""),
                    (fitted(bar(count / most, bar_width), bar_width), "green"),
                    (f" {mark}{cell.count(count)}", ""),
                ]
            )
        return lines

    def _head(self, row: Row, mark: str) -> Line:
        names: Line = [(self.what, "bold")] if self.what and not self.by else []
        for name in self.by:
            value = row[name]
            if names:
                names.append((" ", ""))
            words = cell.UNKNOWN if value is None else cut(cell.text(value), 40)
            names.append((words if isinstance(value, str) else f"{name} {words}", "bold"))
        figures = ", ".join(
            [
                f"{mark}{cell.count(row['count'])}",
                *(
                    f"{title} {cell.duration(row[name])}"
                    for title, name in (("p50", "p50_ns"), ("p99", "p99_ns"), ("max", "max_ns"))
                ),
            ]
        )
        return [*names, (": " if names else "", ""), (figures, "")]


def bar(share: float, width: int) -> str:
    """Draw a bar of a share of ``width``, to an eighth of a column; something is never nothing."""
    eighths = round(share * width * 8)
    if share > 0:
        eighths = max(1, eighths)
    return (_FULL * (eighths // 8) + _EIGHTHS[eighths % 8]).rstrip()


def coarser(edges: list[float], counts: list[int], *, buckets_max: int) -> tuple[list[float], list[int]]:
    """Merge neighbouring buckets, two by two, until there are no more than ``buckets_max``; bounds stay powers of two of a second."""
    first = 0 if edges[0] == 0 else round(math.log2(edges[0] / UNIT_NS) * 2**DURATION_SCALE)
    last = first + len(counts) - 1
    shift = 0
    while (last >> shift) - (first >> shift) + 1 > buckets_max:
        shift += 1
    merged = [0] * ((last >> shift) - (first >> shift) + 1)
    for at, count in enumerate(counts, first):
        merged[(at >> shift) - (first >> shift)] += count
    starts = range(first >> shift, (last >> shift) + 2)
    return [0.0 if at == 0 else UNIT_NS * 2.0 ** ((at << shift) / 2**DURATION_SCALE) for at in starts], merged
