"""The hottest functions of a profile: a table, by what each does itself, or with all that it calls."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from sonde.records.accounting import Accounting
from sonde.records.frames import KINDS
from sonde.records.model import RecordBatch
from sonde.records.profile import Function, Measured, Profile, ProfileReader
from sonde.views.page import Page, Row, Writer
from sonde.views.profile import broken_lines, remarks

COLUMNS = ("self_share", "total_share", "function", "binary", "kind")


def machine_columns(measured: Measured) -> tuple[str, ...]:
    """Name the columns that machines get: weights, not shares."""
    unit = "_ns" if measured.is_time else ""
    return ("function", "module", "kind", f"self{unit}", f"total{unit}")


class HotFunctions:
    """A sink for tables of stacks: ranks the functions of each batch and hands them to a writer.

    ``measured`` says what a batch is of; ``columns`` are COLUMNS, or machine_columns.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        measured: Callable[[RecordBatch], Measured],
        columns: Sequence[str],
        sort: str = "self",
        limit: int = 0,
    ) -> None:
        self._writer, self._measured = writer, measured
        self._columns, self._sort, self._limit = tuple(columns), sort, limit
        self._reader = ProfileReader()

    def write(self, batch: RecordBatch) -> None:
        """Write the functions of one batch."""
        self._writer.write(self.page(batch))

    def page(self, batch: RecordBatch) -> Page:
        """Make what is shown of a batch."""
        profile = self._reader.read(batch, self._measured(batch))
        functions = ranked(profile, self._sort)
        shown = functions[: self._limit] if self._limit else functions
        return Page(
            columns=self._columns,
            rows=[_row(profile, each) for each in shown],
            time_ns=batch.time_ns,
            accounting=batch.accounting,
            hidden=len(functions) - len(shown),
            remarks=tuple(remarks(profile) if batch.accounting.final else broken_lines(profile)),
        )

    def close(self, accounting: Accounting) -> None:
        """End with the final accounting."""
        self._writer.close(accounting)


def ranked(profile: Profile, sort: str) -> list[Function]:
    """Order the functions of a profile, the heaviest first."""

    def key(function: Function) -> tuple[int, int, str, str]:
        weights = (-function.own, -function.total)
        return (*(weights if sort == "self" else weights[::-1]), function.name, function.module)

    return sorted(profile.functions.values(), key=key)


def _row(profile: Profile, function: Function) -> Row:
    total, measured = profile.total or 1, profile.measured
    return {
        "self_share": function.own / total,
        "total_share": function.total / total,
        "function": function.name,
        "binary": os.path.basename(function.module) or function.module,
        "module": function.module,
        "kind": KINDS.get(function.kind, ""),
        machine_columns(measured)[3]: function.own,
        machine_columns(measured)[4]: function.total,
    }
