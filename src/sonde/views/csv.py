"""CSV: a header, then one line a row."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from sonde.records.accounting import Accounting
from sonde.views.cell import text
from sonde.views.json import machine_rows
from sonde.views.page import MOMENTS, TIME, Page


class CsvWriter:
    """Writes rows under one header; unknown values are empty, lists are joined by blanks.

    CSV has no place for the accounting: ``note`` takes it (and says it on stderr), in one line. On a terminal texts are as
    tables have them: what a process calls itself must not move the cursor.
    """

    def __init__(self, file: TextIO, columns: Sequence[str], note: Callable[[str], None]) -> None:
        """Write to ``file``, which the caller closes; the header at once, so that even no rows are a table."""
        self._file, self._note = file, note
        self._names = [TIME, *(name for name in columns if name not in MOMENTS)]
        self._is_terminal = file.isatty()
        self._csv = csv.writer(file, lineterminator="\n")
        self._csv.writerow(self._names)

    def write(self, page: Page) -> None:
        """Write each row of a page."""
        for found in machine_rows(page):
            fields = [_field(found.get(name)) for name in self._names]
            self._csv.writerow(
                [text(each) if isinstance(each, str) else each for each in fields]
                if self._is_terminal
                else fields
            )
        self._file.flush()

    def close(self, accounting: Accounting) -> None:
        """Say the accounting beside the table."""
        self._file.flush()
        self._note(str(accounting))


def _field(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, str) and not value.isascii():
        return value.encode(errors="surrogateescape").decode(errors="replace")
    return value
