"""A page's rows, made of columns as they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import overload

from sonde.records.model import RecordBatch
from sonde.views.page import Row

ROWS_AT_ONCE = 200
"""So many are made at once, for who goes through all: those of a large table take several times what its columns do."""


class Rows(Sequence[Row]):
    """The records of a batch as rows of Python values; none of them is kept."""

    def __init__(self, batch: RecordBatch) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return len(self._batch)

    @overload
    def __getitem__(self, at: int) -> Row: ...
    @overload
    def __getitem__(self, at: slice) -> Rows: ...
    def __getitem__(self, at: int | slice) -> Row | Rows:
        if isinstance(at, slice):
            return Rows(self._batch.picking(at))
        at = range(len(self))[at]
        return next(self._batch.picking(slice(at, at + 1)).rows())

    def __iter__(self) -> Iterator[Row]:
        for start in range(0, len(self), ROWS_AT_ONCE):
            yield from self._batch.picking(slice(start, start + ROWS_AT_ONCE)).rows()
