"""Rows of a table that are alike in what matters become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonde.records.fold import adds_up, combined_from
from sonde.records.frames import COLUMNS as STACK_COLUMNS
from sonde.records.model import Column, Enricher, RecordBatch, Schema

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


def grouped(batch: RecordBatch, by: Sequence[str], values: Sequence[str]) -> RecordBatch:
    """Add up rows that have the same in the columns ``by``, which become the key; other columns than these are gone.

    ``values`` are added up as their typedefs say: sums, maxima, the earliest, and the first row's texts. The row of ``other`` stays
    one of its own. For enrichers: columns that were keys may tell more apart than a person wants to see.
    """
    import numpy as np

    told = ["is_other"] if "is_other" in batch.columns else []
    names = [*by, *told]
    places: dict[tuple[Any, ...], int] = {}
    keys = zip(*(batch[name].tolist() for name in names), strict=True)
    group = np.array([places.setdefault(key, len(places)) for key in keys], dtype=np.intp)
    order = np.argsort(group, kind="stable")
    begins = np.searchsorted(group[order], np.arange(len(places)))
    first = order[begins]
    columns = {name: batch[name][first] for name in by}
    for name in values:
        columns[name] = _together(batch, name, order, begins)
    columns |= {name: batch[name][first] for name in told}
    known = {column.name: column for column in batch.schema.columns}
    kept = [replace(known[name], is_key=name in by) for name in columns if name in known]
    return replace(batch, schema=Schema(batch.schema.name, tuple(kept)), columns=columns)


def with_alike_stacks_together(by: Sequence[str], values: Sequence[str]) -> Enricher:
    """Make one row of stacks whose frames have the same names and lines: they differ by the instruction alone.

    ``by`` and ``values`` are as ``grouped``'s, without the columns of frames. Where stacks have no names it does nothing.
    """

    def together(batch: RecordBatch) -> RecordBatch:
        return grouped(batch, (*by, *STACK_COLUMNS), values) if STACK_COLUMNS[0] in batch.columns else batch

    return together


def _together(batch: RecordBatch, name: str, order: Array, begins: Array) -> Any:
    import numpy as np

    column: Column = next(each for each in batch.schema.columns if each.name == name)
    values = np.ma.getdata(batch[name])
    # The order is stable: the first of each group begins it.
    if not adds_up(values, column.meaning):
        return batch[name][order[begins]]
    return combined_from(values[order], column.meaning, begins)
