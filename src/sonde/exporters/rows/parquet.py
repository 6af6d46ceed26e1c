"""Records as a Parquet file, by pyarrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import pyarrow
from pyarrow import parquet

if TYPE_CHECKING:
    from sonde.exporters.rows.arrow import FlatArrays
    from sonde.records.accounting import Accounting
    from sonde.records.model import RecordBatch

GROUP_ROWS = 131_072
"""Rows of a row group: so many are kept until they are written; small groups are slow to read."""


class ParquetRows:
    """A sink: writes records as one Parquet file to a binary file, which the caller closes."""

    def __init__(self, file: BinaryIO, arrays: FlatArrays) -> None:
        """Begin the file."""
        self._arrays = arrays
        self._schema: Any = pyarrow.schema(arrays.schema)
        self._writer = parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._kept: list[Any] = []
        self._rows = 0

    def write(self, batch: RecordBatch) -> None:
        """Take one batch."""
        if len(batch):
            self._kept.append(pyarrow.record_batch(self._arrays(batch)))
            self._rows += len(batch)
        if self._rows >= GROUP_ROWS:
            self._put()

    def _put(self) -> None:
        if self._kept:
            table = pyarrow.Table.from_batches(self._kept, self._schema)
            self._writer.write_table(table, row_group_size=GROUP_ROWS)
        self._kept, self._rows = [], 0

    def close(self, accounting: Accounting) -> None:
        """Write what was kept, and the end."""
        self._put()
        self._writer.close()
