"""The classic text format, version 0.0.4, which every Prometheus and every person can read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sonde.exporters.prometheus.buckets import classic
from sonde.exporters.prometheus.families import Family, distinct
from sonde.exporters.prometheus.labels import label_rows

if TYPE_CHECKING:
    from sonde.records.metrics import Series

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

ROWS_AT_ONCE = 256
"""Series that are written at once: it bounds what is in memory besides the page."""

LABELS, BRACES = "\0", "\1"
"""Where a histogram's template has the labels; both never occur in cleaned text."""


def write_text(family: Family, *, classic_buckets: int) -> Iterator[tuple[bytes, int]]:
    """Write a family piece by piece, each with the number of series in it."""
    help_text = family.help.replace("\\", "\\\\")
    yield f"# HELP {family.name} {help_text}\n# TYPE {family.name} {family.type}\n".encode(), 0
    for series, labels in distinct(family.parts, _labels):
        for begin in range(0, len(series), ROWS_AT_ONCE):
            rows = slice(begin, begin + ROWS_AT_ONCE)
            if family.type == "histogram":
                written = _histograms(family.name, series, labels[rows], rows, classic_buckets)
            else:
                written = _numbers(family.name, series, labels[rows], rows)
            yield written.encode(), len(labels[rows])


def number(value: float) -> str:
    """Write a number as Go reads it: the shortest that is the same again."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"
    return repr(value)


def _labels(series: Series) -> list[str]:
    return label_rows(series.attributes, rows=len(series), write=_label, between=",")


def _label(name: str, value: str) -> str:
    # Line ends are visible escapes by now.
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}="{escaped}"'


def _numbers(name: str, series: Series, labels: list[str], rows: slice) -> str:
    values = series.scaled(series.values[rows]).tolist()
    return "".join(
        f"{name}{{{label}}} {number(value)}\n" if label else f"{name} {number(value)}\n"
        for label, value in zip(labels, values, strict=True)
    )


def _histograms(name: str, series: Series, labels: list[str], rows: slice, classic_buckets: int) -> str:
    import numpy as np

    bounds = classic(series.metric, buckets=series.values.shape[1], bounds_max=classic_buckets)
    cumulative = np.cumsum(series.values[rows], axis=1)
    below = cumulative[:, np.array(bounds.buckets, np.intp) - 1].tolist()
    counts = cumulative[:, -1].tolist()
    if series.totals is None:
        sums = [math.nan] * len(counts)
    else:
        sums = series.scaled(series.totals[rows]).tolist()
    template = _template(name, bounds.bounds)
    found = []
    for label, row, count, total in zip(labels, below, counts, sums, strict=True):
        if label:
            label = label.replace("%", "%%")
            lines = template.replace(LABELS, f"{label},").replace(BRACES, f"{{{label}}}")
        else:
            lines = template.replace(LABELS, "").replace(BRACES, "")
        found.append(lines % (*row, count, number(total), count))
    return "".join(found)


def _template(name: str, bounds: tuple[float, ...]) -> str:
    lines = [f'{name}_bucket{{{LABELS}le="{bound!r}"}} %d' for bound in bounds]
    lines += [
        f'{name}_bucket{{{LABELS}le="+Inf"}} %d',
        f"{name}_sum{BRACES} %s",
        f"{name}_count{BRACES} %d",
        "",
    ]
    return "\n".join(lines)
