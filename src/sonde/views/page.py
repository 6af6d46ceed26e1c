"""What a view shows at one moment, and who writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from sonde.records.accounting import Accounting

TIME = "time"
"""Name of a moment, in nanoseconds since 1970, and in rows for machines in RFC 3339."""

MOMENTS = (TIME, "time_ns")
"""Columns that hold a record's own moment; a table's rows have that of the reading."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows of Python values, None where a value is unknown, and what stands around them.

    ``hidden`` rows were left out by a limit. ``scale`` is what a count stands for when events were sampled.
    ``remarks`` stand under the accounting. ``is_last`` marks the one after which there is only the final accounting.
    """

    columns: tuple[str, ...]
    rows: Sequence[Row]
    time_ns: int
    accounting: Accounting
    hidden: int = 0
    scale: int = 1
    meanings: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def is_last(self) -> bool:
        """Tell whether nothing is counted any more."""
        return self.accounting.final


class Writer(Protocol):
    """Writes pages in one format."""

    def write(self, page: Page) -> None:
        """Write one page."""
        ...

    def close(self, accounting: Accounting) -> None:
        """Write what belongs under everything, and end; the file stays open."""
        ...
