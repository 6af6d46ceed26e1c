"""Rows as machines get them: JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import numpy as np
import pytest

from sonde.records.accounting import Accounting
from sonde.views.csv import CsvWriter
from sonde.views.json import FEW_LINES, JsonWriter
from sonde.views.page import Page
from sonde.views.trace import Trace
from view_batches import COLUMNS, Kept, batch, records, top_rows


def json_lines(*pages: Page, accounting: Accounting | None = None) -> list[Any]:
    file = io.StringIO()
    writer = JsonWriter(file)
    for page in pages:
        writer.write(page)
    if accounting is not None:
        writer.close(accounting)
    return [json.loads(line) for line in file.getvalue().splitlines()]


def test_many_lines_of_json_say_the_same_as_few() -> None:
    """Many are encoded by another library: whatever is in them, no reader sees where that begins."""
    value = {
        "count": np.uint64(2**64 - 1), "wide": 2**70, "share": 0.1, "tiny": 5e-324, "none": float("nan"),
        "most": float("inf"), "narrow": np.float32(1.5), "is_other": np.bool_(True), "bytes": b"ab", "list": [1, (2, None)],
        "comm": "a\udc80\u2028\x7f\x1b\"é漢", 7: "seven",
    }  # fmt: skip
    file = io.StringIO()
    writer = JsonWriter(file)
    for _ in range(FEW_LINES + 2):
        writer.line(value)

    first, *_, last = lines = file.getvalue().splitlines()
    assert FEW_LINES + 2 == len(lines)
    assert json.loads(first) == json.loads(last)
    assert json.loads(first)["comm"] == 'a\ufffd\u2028\x7f\x1b"é漢'
    assert first.isprintable()
    assert last.isprintable()


def test_a_row_of_json_has_its_time_first_and_null_for_what_is_unknown() -> None:
    (page,) = top_rows(batch((7, "exit", {})))
    (row,) = json_lines(page)

    assert list(row) == ["time", *COLUMNS]
    assert row["time"] == "2025-07-01T12:00:00.000000000Z"
    assert (row["pid"], row["count"], row["duration_sum_ns"]) == (7, 0, None)


def test_the_row_of_other_says_that_it_is_one() -> None:
    (page,) = top_rows(batch((7, "read", {4: 1}), other={4: 2}))

    assert ["is_other" in row for row in json_lines(page)] == [False, True]


def test_estimates_carry_their_rate() -> None:
    (page,) = top_rows(batch((7, "read", {4: 3}), scale=10))
    (row,) = json_lines(page)

    assert (row["count"], row["sampled_1_in"]) == (30, 10)


def test_the_last_line_of_json_is_the_accounting() -> None:
    accounting = Accounting(
        seen=9, delivered=3, filtered=2, lost={"ring_full": 4, "map_full": 0}, in_flight=1, final=True
    )

    assert json_lines(accounting=accounting) == [
        {
            "accounting": {
                "seen": 9, "delivered": 3, "aggregated": 0, "filtered": 2, "sampled_out": 0,
                "lost": {"ring_full": 4}, "in_flight": 1,
            }
        }
    ]  # fmt: skip


def test_a_record_has_its_own_time() -> None:
    kept = Kept()
    Trace(kept, columns=("time", "pid", "args")).write(records(1_000_000_001))

    assert json_lines(*kept.pages) == [
        {"time": "1970-01-01T00:00:01.000000001Z", "pid": 1_000_000_001, "args": [1, 2]}
    ]


def test_names_that_are_no_text_are_still_json() -> None:
    (page,) = top_rows(batch((7, b'\xff\x1b"'.decode(errors="surrogateescape"), {4: 1})))
    (row,) = json_lines(page)

    assert row["syscall"] == '\ufffd\x1b"'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("kind", "written"), [(Terminal, "\\x1b[31mred\\x0a"), (io.StringIO, "\x1b[31mred\n")]
)
def test_csv_moves_no_terminals_cursor_and_keeps_what_it_writes_to_a_file(
    kind: type[io.StringIO], written: str
) -> None:
    (page,) = top_rows(batch((7, "\x1b[31mred\n", {4: 1})))
    file = kind()
    CsvWriter(file, COLUMNS, print).write(page)

    (row,) = csv.DictReader(io.StringIO(file.getvalue()))
    assert row["syscall"] == written


def test_csv_has_a_header_and_the_accounting_beside_it() -> None:
    (page,) = top_rows(batch((7, 'a,"b', {4: 1}), (8, "read", {})))
    file, notes = io.StringIO(), list[str]()
    writer = CsvWriter(file, COLUMNS, notes.append)
    writer.write(page)
    writer.close(Accounting(seen=1, aggregated=1, final=True))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))

    assert [(row["pid"], row["syscall"], row["duration_sum_ns"]) for row in rows] == [
        ("7", 'a,"b', "1000"),
        ("8", "read", ""),
    ]
    assert notes == ["seen 1 = aggregated 1 + lost 0"]
