"""``trace``: the records of a stream, one after the other, as they come."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sonde.records.accounting import Accounting
from sonde.records.model import RecordBatch
from sonde.views.arguments import with_arguments
from sonde.views.page import Page, Writer

PAGE_RECORDS = 4096
"""Records that are Python values at one time: they take many times the room that they have in a batch."""


class Trace:
    """A sink for streams: hands records to a writer, all of them or the first ``limit``.

    ``enough`` is called once when the limit is reached; what comes after that is read and not shown.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        columns: Sequence[str],
        limit: int = 0,
        enough: Callable[[], None] | None = None,
    ) -> None:
        self._writer, self._columns = writer, tuple(columns)
        self._limit, self._enough = limit, enough
        self.shown = 0
        self.delivered = 0

    def write(self, batch: RecordBatch) -> None:
        """Write the records of one batch."""
        self.delivered += len(batch)
        room = self._limit - self.shown if self._limit else len(batch)
        if len(batch) > room:
            batch = batch.picking(slice(room))
        self.shown += len(batch)
        # A page without records says how many were left out.
        for start in range(0, max(len(batch), self.delivered > self.shown), PAGE_RECORDS):
            self._writer.write(self.page(batch.picking(slice(start, start + PAGE_RECORDS))))
        if self._limit and self.shown == self._limit and self._enough is not None:
            self._enough()
            self._enough = None

    def page(self, batch: RecordBatch) -> Page:
        """Make what is shown of a batch."""
        return Page(
            columns=self._columns,
            rows=with_arguments(list(batch.rows(self._columns)), batch),
            time_ns=batch.time_ns,
            accounting=batch.accounting,
            hidden=self.delivered - self.shown,
            scale=batch.scale,
            meanings={column.name: column.meaning for column in batch.schema.columns},
        )

    def close(self, accounting: Accounting) -> None:
        """End with the final accounting."""
        self._writer.close(accounting)
