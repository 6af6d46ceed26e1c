"""``hist``: the distribution of what a table measured, one histogram for each group of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sonde.enrich.duration import UNIT_NS
from sonde.errors import ProbeError
from sonde.records.accounting import Accounting
from sonde.records.histogram import BUCKET, bounds, quantiles
from sonde.records.metrics import DURATION_SCALE
from sonde.records.model import Column, RecordBatch
from sonde.views.measures import Delta, since
from sonde.views.page import Page, Row, Writer

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Hist:
    """A sink for tables with a histogram: adds up the rows that are equal in the columns ``by``.

    Rows for machines have ``bounds_ns`` and ``counts``, from the first bucket that was hit to the last: bucket i
    covers what is above bound i and not above bound i + 1. With ``flat`` there is a row for each bucket instead.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        by: Sequence[str],
        limit: int = 0,
        delta: bool = False,
        flat: bool = False,
    ) -> None:
        self._writer, self._by = writer, tuple(by)
        self._limit, self._flat = limit, flat
        self._delta = Delta() if delta else None

    @staticmethod
    def columns(by: Sequence[str], *, flat: bool) -> tuple[str, ...]:
        """Name the columns of its rows."""
        if flat:
            return (*by, "above_ns", "up_to_ns", "count")
        return (*by, "count", "p50_ns", "p99_ns", "max_ns", "bounds_ns", "counts")

    def write(self, batch: RecordBatch) -> None:
        """Write the histograms of one batch."""
        self._writer.write(self.page(since(batch, self._delta)))

    def page(self, batch: RecordBatch) -> Page:
        """Make what is shown of a batch."""
        column = histogram_of(batch)
        groups = _groups(batch, self._by, column)
        shown = groups[: self._limit] if self._limit else groups
        rows = [flat for row in shown for flat in _flattened(row, self._by)] if self._flat else shown
        return Page(
            columns=self.columns(self._by, flat=self._flat),
            rows=rows,
            time_ns=batch.time_ns,
            accounting=batch.accounting,
            hidden=len(groups) - len(shown),
            scale=batch.scale,
        )

    def close(self, accounting: Accounting) -> None:
        """End with the final accounting."""
        self._writer.close(accounting)


def histogram_of(batch: RecordBatch) -> Column:
    """Find the column that is a histogram; raises ProbeError where there is none."""
    found = batch.schema.having(BUCKET)
    if not found:
        raise ProbeError(
            f"draw a histogram of {batch.schema.name}", why="it has none", hint="sonde top shows its rows"
        )
    return found[0]


def _groups(batch: RecordBatch, by: tuple[str, ...], column: Column) -> list[Row]:
    """Add up the rows of each group; the largest group first, without those that have no duration at all."""
    import numpy as np

    is_other = batch.columns.get("is_other", np.zeros(len(batch), dtype=bool)).tolist()
    values = [batch[name].tolist() for name in by]
    members: dict[tuple[Any, ...], list[int]] = {}
    for at, key in enumerate(zip(*values, strict=True) if by else [()] * len(batch)):
        members.setdefault(("other", *[None] * (len(by) - 1)) if by and is_other[at] else key, []).append(at)
    largest = np.ma.filled(batch[f"{column.name.removesuffix('_buckets')}_max_ns"], 0)
    buckets = np.asarray(batch[column.name])
    rows = [
        _row(
            dict(zip(by, key, strict=True)), buckets[at].sum(axis=0, dtype=np.uint64), int(largest[at].max())
        )
        for key, at in members.items()
    ]
    return sorted((row for row in rows if row["count"]), key=lambda row: -int(row["count"]))


def _row(group: Row, counts: Array, largest: int) -> Row:
    import numpy as np

    edges = bounds(len(counts), DURATION_SCALE, unit=UNIT_NS)
    hit = np.flatnonzero(counts)
    if not len(hit):
        return {**group, "count": 0}
    first, last = int(hit[0]), int(hit[-1])
    p50, p99 = quantiles(counts[None, :], DURATION_SCALE, (0.5, 0.99), unit=UNIT_NS)
    # The first bucket takes 0 and 1 too, so it begins at 0.
    shown = [0.0 if at == 0 else float(edges[at]) for at in range(first, last + 2)]
    return {
        **group,
        "count": int(counts.sum()),
        "p50_ns": min(round(float(p50[0])), largest),
        "p99_ns": min(round(float(p99[0])), largest),
        "max_ns": largest,
        "bounds_ns": shown,
        "counts": counts[first : last + 1].tolist(),
    }


def _flattened(row: Row, by: tuple[str, ...]) -> list[Row]:
    return [
        {**{name: row[name] for name in by}, "above_ns": low, "up_to_ns": high, "count": count}
        for low, high, count in zip(row["bounds_ns"], row["bounds_ns"][1:], row["counts"], strict=False)
    ]
