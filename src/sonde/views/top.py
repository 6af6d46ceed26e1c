"""``top``: the rows of a table, the largest first."""

from __future__ import annotations

from collections.abc import Sequence

from sonde.records.accounting import Accounting
from sonde.records.model import RecordBatch
from sonde.views.measures import Delta, since
from sonde.views.page import Page, Writer
from sonde.views.ranking import Ranking
from sonde.views.rows import Rows


class Top:
    """A sink for tables: ranks the rows of each batch and hands them to a writer.

    ``columns`` are those to show; with ``delta`` rows hold what is new since the batch before, else what came so far.
    """

    def __init__(
        self, writer: Writer, *, columns: Sequence[str], ranking: Ranking, delta: bool = False
    ) -> None:
        self._writer, self._ranking = writer, ranking
        self._columns = tuple(columns)
        self._delta = Delta() if delta else None

    def write(self, batch: RecordBatch) -> None:
        """Write the rows of one batch."""
        self._writer.write(self.page(since(batch, self._delta)))

    def page(self, batch: RecordBatch) -> Page:
        """Make what is shown of a batch."""
        order, hidden = self._ranking.order(batch)
        names = [*self._columns, *(["is_other"] if "is_other" in batch.columns else [])]
        return Page(
            columns=self._columns,
            rows=Rows(batch.picking(order, columns=names)),
            time_ns=batch.time_ns,
            accounting=batch.accounting,
            hidden=hidden,
            scale=batch.scale,
            meanings={column.name: column.meaning for column in batch.schema.columns},
        )

    def close(self, accounting: Accounting) -> None:
        """End with the final accounting."""
        self._writer.close(accounting)
