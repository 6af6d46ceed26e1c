"""JSON: one object a line, the accounting last."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any, TextIO

from sonde.enrich.times import WALL
from sonde.records.accounting import Accounting
from sonde.records.json_line import unbroken
from sonde.records.rfc3339 import rfc3339
from sonde.views.page import MOMENTS, TIME, Page, Row
from sonde.views.rows import ROWS_AT_ONCE

FEW_LINES = 5_000
"""So many are encoded by the standard library. For more msgspec is loaded, which takes 6 ms and 1.4 MB, and is 15 times as fast."""


class JsonWriter:
    """Writes every row as an object with its ``time``, and ``{"accounting": …}`` as the last line."""

    def __init__(self, file: TextIO) -> None:
        """Write to ``file``, which the caller closes."""
        self._file = file
        self._encode: Callable[[Sequence[Any]], bytes] = _few_lines
        self._few_left = FEW_LINES

    def write(self, page: Page) -> None:
        """Write each row of a page; nothing for a page without rows."""
        rows = machine_rows(page)
        while part := list(islice(rows, ROWS_AT_ONCE)):
            self._put(part)
        self._file.flush()

    def close(self, accounting: Accounting) -> None:
        """Write the accounting."""
        self.line({"accounting": accounting.as_dict()})
        self._file.flush()

    def line(self, value: Any) -> None:
        """Write one object."""
        self._put([value])

    def _put(self, values: list[Any]) -> None:
        self._few_left -= len(values)
        if self._few_left < 0 and self._encode is _few_lines:
            self._encode = _many_lines()
        try:
            text = self._encode(values)
        except ValueError:
            text = self._encode(_encodable(values))
        self._file.write(unbroken(text).decode())


def machine_rows(page: Page) -> Iterator[Row]:
    """Give rows as machines get them: the moment first, in RFC 3339, then the columns as they are."""
    if page.columns[:1] == (TIME,) and page.scale == 1:
        # Records have moments of their own, and come by the ten thousand.
        return ({**row, TIME: rfc3339(row[TIME])} for row in page.rows)
    now = rfc3339(page.time_ns)
    return (_machine_row(row, page, now) for row in page.rows)


def _machine_row(row: Row, page: Page, now: str) -> Row:
    moment = next((row[name] for name in MOMENTS if row.get(name) is not None), None)
    found: Row = {TIME: now if moment is None else rfc3339(moment)}
    found.update((name, row.get(name)) for name in page.columns if name not in MOMENTS)
    for name in page.columns:
        if page.meanings.get(name) == WALL and found[name] is not None:
            found[name] = rfc3339(found[name])
    if row.get("is_other"):
        found["is_other"] = True
    if page.scale > 1:
        # Totals are estimates then, and the rate goes with them.
        found["sampled_1_in"] = page.scale
    return found


def _plain(value: Any) -> Any:
    """Give what an encoder knows for what it does not: NumPy's numbers, and bytes, as base64."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return value.item() if hasattr(value, "item") else str(value)


_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain)


def _few_lines(values: Sequence[Any]) -> bytes:
    return "".join([f"{_ENCODER.encode(value)}\n" for value in values]).encode()


def _many_lines() -> Callable[[Sequence[Any]], bytes]:
    import msgspec

    return msgspec.json.Encoder(enc_hook=_plain).encode_lines


def _encodable(value: Any) -> Any:
    """Replace what is no UTF-8, as in names that processes give themselves, and no number."""
    if isinstance(value, str):
        return value.encode(errors="surrogateescape").decode(errors="replace")
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {_encodable(key): _encodable(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encodable(each) for each in value]
    return value
