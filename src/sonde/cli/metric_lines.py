"""A captured table as metrics: what the agent would have exported, as lines of JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from sonde.exporters.json_lines.line import metric_chunks
from sonde.records.metrics import Snapshot
from sonde.records.totals import Totals
from sonde.views.measures import Delta

if TYPE_CHECKING:
    from sonde.records.accounting import Accounting
    from sonde.records.metrics import Metric
    from sonde.records.model import RecordBatch


class MetricLines:
    """A sink: adds up the metrics of each reading, and writes a line for each of their series.

    ``by`` are columns that become attributes beside the metrics' own; ``began_ns`` is when counting began.
    """

    def __init__(
        self, file: TextIO, metrics: Sequence[Metric], *, by: Sequence[str], began_ns: int, series_max: int
    ) -> None:
        """Write to ``file``, which the caller closes."""
        self._file = file
        self._delta = Delta()
        self._totals = [
            Totals(each, attributes=by, series_max=series_max, clock_ns=lambda: began_ns) for each in metrics
        ]

    def write(self, batch: RecordBatch) -> None:
        """Write the metrics as of one reading."""
        added = self._delta(batch)
        for totals in self._totals:
            totals.add(added)
        series = tuple(totals.series(batch.time_ns) for totals in self._totals)
        for chunk in metric_chunks(Snapshot(series, batch.time_ns)):
            self._file.write(chunk.text.decode())

    def close(self, accounting: Accounting) -> None:
        """End; metrics have no place for an accounting."""
        self._file.flush()
