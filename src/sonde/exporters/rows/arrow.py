"""Records as an Arrow IPC stream, one row each: for DuckDB, pandas, polars and whatever reads Arrow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

import nanoarrow

from sonde.records.capture.arrow import StreamBytes, array_of, column_array, type_of
from sonde.records.capture.kind import TIME, Kind, buffers_of
from sonde.records.capture.text import Encoded

if TYPE_CHECKING:
    from sonde.records.accounting import Accounting
    from sonde.records.model import RecordBatch, Values

SAMPLED = "sampled_1_in"
"""The column that says what a row's counts stand for where events were sampled."""


class FlatArrays:
    """Turns batches into Arrow's structs: their columns, and the moment of the reading where records have none.

    ``kinds`` are the columns'; ``is_sampled`` adds what a count stands for.
    """

    def __init__(self, kinds: Mapping[str, Kind], *, is_sampled: bool, metadata: Mapping[str, str]) -> None:
        added = {} if TIME in kinds else {TIME: Kind(TIME)}
        self._kinds = {**added, **kinds, **({SAMPLED: Kind("int64")} if is_sampled else {})}
        self._words = {name: Encoded() for name in self._kinds}
        self.schema = nanoarrow.Schema(
            nanoarrow.Type.STRUCT,
            fields={name: type_of(kind) for name, kind in self._kinds.items()},
            metadata=dict(metadata),
            nullable=False,
        )

    def __call__(self, batch: RecordBatch) -> Any:
        """Make the array of one batch; raises LayoutError."""
        columns: dict[str, Values] = {**batch.columns, **_added(batch)}
        arrays = [
            column_array(kind, len(batch), buffers_of(name, columns[name], kind, self._words[name]))
            for name, kind in self._kinds.items()
        ]
        return array_of(self.schema, len(batch), [None], *arrays)


def _added(batch: RecordBatch) -> dict[str, Values]:
    import numpy as np

    added = {SAMPLED: np.full(len(batch), batch.scale, np.int64)}
    if TIME not in batch.columns:
        added[TIME] = np.full(len(batch), batch.time_ns, np.int64)
    return added


class ArrowRows:
    """A sink: writes records as one Arrow IPC stream to a binary file, which the caller closes."""

    def __init__(self, file: BinaryIO, arrays: FlatArrays) -> None:
        """Write the schema at once, so that even no records are a table."""
        self._file, self._arrays = file, arrays
        self._stream = StreamBytes(arrays.schema)
        file.write(self._stream.schema())

    def write(self, batch: RecordBatch) -> None:
        """Write one batch."""
        if len(batch):
            self._file.write(self._stream.batch(self._arrays(batch)))

    def close(self, accounting: Accounting) -> None:
        """Write the end mark."""
        self._file.write(self._stream.end())
        self._file.flush()
