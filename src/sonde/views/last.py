"""Only the end: for measurements that are shown once."""

from __future__ import annotations

from sonde.records.accounting import Accounting
from sonde.records.model import RecordBatch, Sink


class Last:
    """A sink that passes on the final batch alone. The others are read all the same, so that no table fills up."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def write(self, batch: RecordBatch) -> None:
        """Pass the batch on if it is the last."""
        if batch.accounting.final:
            self._sink.write(batch)

    def close(self, accounting: Accounting) -> None:
        """End with the final accounting."""
        self._sink.close(accounting)
