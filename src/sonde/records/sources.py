"""Sources: tables and streams of a loaded probe, one call per batch."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from sonde.bpf.btf import BtfType
from sonde.bpf.dtype import dtype_of
from sonde.bpf.ringbuf import RingBuffer
from sonde.records.accounting import UNREPRESENTED, Accounting
from sonde.records.differences import Differences
from sonde.records.fold import fold, fold_cpus
from sonde.records.histogram import BUCKET
from sonde.records.layout import columns_of, narrow, split
from sonde.records.model import Column, RecordBatch, Schema
from sonde.records.tail import heads_of, tail_of, texts_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.bpf.map import Map

    Array = npt.NDArray[Any]

Counters = Callable[[], Mapping[str, int]]
"""Reads the counters of an output, which the kernel keeps: ``seen``, ``filtered``, ``lost_…``."""


def accounting_from(
    counters: Mapping[str, int], *, delivered: int = 0, aggregated: int = 0, final: bool = False
) -> Accounting:
    """Sort the kernel's counters into the equation, by name; what has no place in it is a note."""
    rest = dict(counters)
    # Left out while the programs run, and with no event yet that stands for them (sampling.bpf.h).
    thinned_out = rest.pop("thinned_out", 0)
    if thinned_out and not final:
        rest[UNREPRESENTED] = thinned_out
    begun, ended = rest.pop("begun", 0), rest.pop("ended", 0)
    lost = {name.removeprefix("lost_"): rest.pop(name) for name in counters if name.startswith("lost_")}
    return Accounting(
        seen=rest.pop("seen", 0),
        filtered=rest.pop("filtered", 0),
        sampled_out=rest.pop("sampled_out", 0) + thinned_out,
        delivered=delivered,
        aggregated=aggregated,
        lost=lost,
        in_flight=max(0, begun - ended),
        notes=rest,
        final=final,
    )


class Rows(Protocol):
    """Reads the rows of a table where that is more than reading its map: from several places, or with a retirement.

    ``columns`` are the values'. ``folded`` is what was added up into one row, of length 0 or 1; ``ended`` the keys, as
    bytes, of rows that the last read gave for the last time, and that may come again; ``used`` how many of the table's
    entries it found in use.
    """

    columns: tuple[Column, ...]
    ended: Array
    used: int

    @property
    def folded(self) -> Array:
        """Give that row, if there is one."""
        ...

    def read(self, *, is_last: bool) -> tuple[Array, Array]:
        """Give keys and values. At the last read nothing has to leave the kernel: nobody needs the room."""
        ...


class TableSource:
    """Reads a table: all rows, cumulative, with those of ended processes and of ``other`` among them.

    ``count`` gives, for the columns of a batch, what each row counts: their sum is ``aggregated``. With
    ``differences`` a read gives only rows that have changed since the one before, with what was added to them; then
    ``aggregated`` is the sum over all reads, and ``rows`` must keep nothing. Without ``histograms`` buckets are there in
    the narrowest type, for who works something out from them and lets them go: they are nine tenths of a row.
    ``fill`` is how full the map was when it was last read, 0 to 1.
    """

    def __init__(
        self,
        table: Map,
        *,
        name: str,
        counters: Counters,
        count: Callable[[Mapping[str, Array]], Array],
        other: Map | None = None,
        rows: Rows | None = None,
        differences: bool = False,
        histograms: bool = True,
    ) -> None:
        key, value = table.shape.key_type, table.shape.value_type
        assert key is not None, "packaged objects have BTF"
        assert value is not None, "packaged objects have BTF"
        self._table, self._other = table, other
        self._key_columns = columns_of(key, is_key=True)
        self._value_columns = columns_of(value) if rows is None else rows.columns
        self._counters, self._count = counters, count
        self._rows = rows
        folded = (Column("is_other", "sonde_other_t"),)
        self.schema = Schema(name, self._key_columns + self._value_columns + folded)
        self._narrowed = () if histograms else tuple(column.name for column in self.schema.having(BUCKET))
        self.is_final = False
        self.fill = 0.0
        self._rows_before = Differences(self._value_columns) if differences else None
        self._other_before = Differences(self._value_columns)
        self._handed_out = 0

    def fileno(self) -> int | None:
        """A table has nothing to wait for."""
        return None

    def read(self) -> RecordBatch:
        """Read the rows; the accounting beside them is final once the programs are detached."""
        import numpy as np

        # The counters are read after the rows while events go on, so "so far" never claims what is not there yet.
        if self._rows is None:
            keys, values = self._table.to_numpy()
            if self._table.per_cpu:
                values = fold_cpus(values, self._value_columns)
        else:
            keys, values = self._rows.read(is_last=self.is_final)
        used = len(keys) if self._rows is None else self._rows.used
        self.fill = used / self._table.max_entries
        other = self._folded(values.dtype)
        if self._rows_before is not None:
            keys, values = self._rows_before.of(keys, values)
            if self._rows is not None:
                self._rows_before.forget(self._rows.ended)
            _, other = self._other_before.of(np.zeros(len(other), keys.dtype), other)
        folded = np.arange(len(keys) + len(other)) >= len(keys)
        columns = self._split(keys, values)
        if len(other):
            others = self._split(np.zeros(len(other), keys.dtype), other)
            columns = {name: np.concatenate([each, others[name]]) for name, each in columns.items()}
        aggregated = int(self._count(columns).sum()) if len(folded) else 0
        if self._rows_before is not None:
            self._handed_out += aggregated
            aggregated = self._handed_out
        accounting = accounting_from(self._counters(), aggregated=aggregated, final=self.is_final)
        return RecordBatch(self.schema, {**columns, "is_other": folded}, accounting, time.time_ns())

    def _split(self, keys: Array, values: Array) -> dict[str, Array]:
        """Give the columns of rows: views, or copies where buckets are narrowed, for views would keep the whole rows."""
        columns: dict[str, Array] = split(keys, self._key_columns) | split(values, self._value_columns)
        if not self._narrowed:
            return columns
        return {
            name: narrow(each) if name in self._narrowed else each.copy() for name, each in columns.items()
        }

    def _folded(self, dtype: np.dtype[Any]) -> Array:
        """Give the row of what found the map full or was folded here: an array of length 0 or 1."""
        import numpy as np

        rows = [np.empty(0, dtype)]
        if self._other is not None:
            _, values = self._other.to_numpy()
            flat = np.ascontiguousarray(values.reshape(-1))
            rows.append(flat[flat.view(np.uint8).reshape(len(flat), -1).any(axis=1)])
        if self._rows is not None:
            rows.append(self._rows.folded)
        together = np.concatenate(rows)
        return fold(together, self._value_columns) if len(together) else together


class StreamSource:
    """Drains a stream: the records since the last read. ``fill`` is what they took of the ring, 0 to 1."""

    def __init__(self, ring: RingBuffer, record: BtfType, *, name: str, counters: Counters) -> None:
        self._ring, self._counters = ring, counters
        self._columns = columns_of(record)
        self._tail, self._head_type = tail_of(record), dtype_of(record)
        self.schema = Schema(name, self._columns)
        self.delivered = 0
        self.is_final = False
        self.fill = 0.0

    def fileno(self) -> int | None:
        """Readable when there are records."""
        return self._ring.fileno()

    def read(self) -> RecordBatch:
        """Drain the ring once; call again while batches come full."""
        self.fill = self._ring.pending_bytes / self._ring.size_bytes
        records: Any = self._ring.drain()
        columns = self._split(records)
        self.delivered += len(records)
        accounting = accounting_from(self._counters(), delivered=self.delivered, final=self.is_final)
        return RecordBatch(self.schema, columns, accounting, time.time_ns())

    def _split(self, records: Any) -> dict[str, Any]:
        if not self._tail:
            return split(records, self._columns)
        heads = split(heads_of(records, self._head_type), self._columns)
        return heads | {self._tail: texts_of(records, self._head_type.itemsize)}
