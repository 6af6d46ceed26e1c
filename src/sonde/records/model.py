"""What flows: batches of records with a schema, from sources through enrichers to sinks."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

from sonde.records.accounting import Accounting

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values = npt.NDArray[Any] | np.ma.MaskedArray[Any, Any]


@dataclass(frozen=True, slots=True)
class Column:
    """One named value of a record; ``meaning`` is the C typedef that says what it is (``sonde_errno_t``)."""

    name: str
    meaning: str = ""
    is_key: bool = False


@dataclass(frozen=True, slots=True)
class Schema:
    """The columns of a batch, in order; ``name`` is ``probe.output``, as ``syscalls.latency``."""

    name: str
    columns: tuple[Column, ...]

    def having(self, meaning: str) -> list[Column]:
        """Give the columns of one meaning."""
        return [column for column in self.columns if column.meaning == meaning]

    @property
    def names(self) -> tuple[str, ...]:
        """Give the columns' names."""
        return tuple(column.name for column in self.columns)


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Records as columns, all of one length; masked values are unknown, and None in a row.

    ``accounting`` is the output's so far; ``time_ns`` the wall clock at reading; ``scale`` what a count stands
    for when events were sampled (1 otherwise: counts are exact).
    """

    schema: Schema
    columns: Mapping[str, Values]
    accounting: Accounting = field(default_factory=Accounting)
    time_ns: int = 0
    scale: int = 1

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> Values:
        return self.columns[name]

    def adding(
        self, added: Mapping[str, Values], *, meanings: Mapping[str, str] | None = None
    ) -> RecordBatch:
        """Give the same records with more columns, or with others of the same name."""
        meanings = meanings or {}
        known = {column.name: column for column in self.schema.columns}
        for name in added:
            before = known.get(name, Column(name))
            known[name] = Column(name, meanings.get(name, before.meaning), before.is_key)
        schema = Schema(self.schema.name, tuple(known.values()))
        return replace(self, schema=schema, columns={**self.columns, **added})

    def without(self, names: Collection[str]) -> RecordBatch:
        """Give the same records without some of their columns."""
        kept = tuple(column for column in self.schema.columns if column.name not in names)
        columns = {name: values for name, values in self.columns.items() if name not in names}
        return replace(self, schema=Schema(self.schema.name, kept), columns=columns)

    def picking(self, rows: Any, *, columns: Sequence[str] | None = None) -> RecordBatch:
        """Give some of the records: ``rows`` is an index array, a mask or a slice; with some of the ``columns``, or all."""
        names = self.columns if columns is None else columns
        return replace(self, columns={name: self.columns[name][rows] for name in names})

    def rows(self, names: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
        """Give records as dictionaries of Python values; for people and for text formats."""
        names = list(self.columns) if names is None else list(names)
        lists = [self.columns[name].tolist() for name in names]
        return (dict(zip(names, values, strict=True)) for values in zip(*lists, strict=True))


class Source(Protocol):
    """Reads from the kernel, one call per batch."""

    def read(self) -> RecordBatch:
        """Give what there is; an empty batch when there is nothing."""
        ...

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when there is something, if there is such a thing."""
        ...


class Enricher(Protocol):
    """Adds columns, by meaning."""

    def __call__(self, batch: RecordBatch) -> RecordBatch:
        """Give the batch with what can be added to it."""
        ...


class Sink(Protocol):
    """Writes batches: an exporter (to a machine format) or a view (for a person)."""

    def write(self, batch: RecordBatch) -> None:
        """Take one batch."""
        ...

    def close(self, accounting: Accounting) -> None:
        """Take the final accounting and end."""
        ...
