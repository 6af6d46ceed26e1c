"""Pages as text: blocks in a pipe, records line by line, and what fits on a screen."""

from __future__ import annotations

import io
from typing import Any

import pytest

from sonde.records.accounting import Accounting
from sonde.views.bars import Bars
from sonde.views.blocks import BlockWriter
from sonde.views.drawing import BarsBody, Caption, Drawing, RankedBody
from sonde.views.line import plain, width_of
from sonde.views.page import Page
from sonde.views.roll import RollWriter
from sonde.views.table import Table

CAPTION = Caption("sonde top test", "--pid 7", "what --pid 7 leaves out")


def page(rows: int, *, final: bool = False, **more: Any) -> Page:
    values = [{"pid": at, "comm": f"process-{at}", "count": 1000 - at} for at in range(rows)]
    accounting = Accounting(seen=rows, aggregated=rows - 1, filtered=1, final=final)
    return Page(("pid", "comm", "count"), values, 1_751_371_200_000_000_000, accounting, **more)


def drawing() -> Drawing:
    return Drawing(CAPTION, RankedBody(Table("count")))


@pytest.mark.parametrize("width", [40, 80, 200])
@pytest.mark.parametrize("height", [5, 24, 50])
@pytest.mark.parametrize("rows", [0, 1, 10, 500])
def test_a_page_never_takes_more_than_the_screen(width: int, height: int, rows: int) -> None:
    lines = drawing().draw(page(rows), width=width, height=height)

    assert len(lines) <= max(height, 7)
    assert max(width_of(plain(line)) for line in lines) <= width


@pytest.mark.parametrize("height", [5, 8, 24])
@pytest.mark.parametrize("rows", [1, 5, 500])
def test_a_column_that_found_no_room_is_named_within_the_screen(height: int, rows: int) -> None:
    given = page(rows)
    values = [{**row, "failed": 1, "resets": 2} for row in given.rows]
    wide = Page((*given.columns, "failed", "resets"), values, 0, given.accounting)
    text = [plain(line) for line in drawing().draw(wide, width=28, height=height)]

    assert ("… no room for RESETS (" in "\n".join(text)) == (height > 5)
    assert len(text) <= max(height, 7)
    shown = sum("process-" in line for line in text)
    assert shown >= 1
    assert shown == rows or f"… {rows - shown} more rows" in "\n".join(text)


def test_what_found_no_room_is_counted() -> None:
    text = [plain(line) for line in drawing().draw(page(500, hidden=3), width=80, height=24)]
    shown = sum(line.split()[1].startswith("process-") for line in text if len(line.split()) == 3)

    assert f"… {500 - shown + 3} more rows (a larger window shows more)" in text


def test_a_limit_is_told_apart_from_a_small_window() -> None:
    text = [plain(line) for line in drawing().draw(page(5, hidden=7))]

    assert "… 7 more rows (--limit 0 shows all)" in text


def test_the_row_of_other_stays_on_the_screen() -> None:
    given = page(500)
    rows = [*given.rows, {"pid": None, "comm": "other", "count": 12, "is_other": True}]
    lines = drawing().draw(Page(given.columns, rows, 0, given.accounting), width=80, height=10)

    assert any("other" in plain(line) for line in lines)


def test_blocks_stand_one_under_the_other_with_the_final_accounting_last() -> None:
    file = io.StringIO()
    writer = BlockWriter(file, drawing())
    writer.write(page(1))
    writer.write(page(2, final=True))
    writer.close(Accounting())
    first, second = file.getvalue().split("\n\n")

    assert first.endswith("(so far)")
    assert second.splitlines()[-1] == "filtered: what --pid 7 leaves out"
    assert "\x1b" not in file.getvalue()


def test_an_empty_page_says_that_there_was_nothing() -> None:
    assert "nothing so far" in [plain(line) for line in drawing().draw(page(0))]
    assert "nothing was seen" in [plain(line) for line in drawing().draw(page(0, final=True))]


def histogram(buckets: int) -> dict[str, Any]:
    return {
        "syscall": "read", "count": buckets, "p50_ns": 5, "p99_ns": 9, "max_ns": 10,
        "bounds_ns": [2.0 ** (at / 2) for at in range(10, 11 + buckets)], "counts": [1] * buckets,
    }  # fmt: skip


@pytest.mark.parametrize("height", [6, 24, 60])
@pytest.mark.parametrize("groups", [1, 2, 9])
def test_histograms_fit_the_screen_and_the_first_is_always_there(height: int, groups: int) -> None:
    given = Page(("syscall",), [histogram(60)] * groups, 0, Accounting(seen=1, aggregated=1))
    lines = Drawing(CAPTION, BarsBody(Bars(("syscall",))), "histograms").draw(given, width=80, height=height)
    text = [plain(line) for line in lines]

    assert len(lines) <= height
    assert any(line.startswith("read: 60, p50 5 ns, p99 9 ns, max 10 ns") for line in text)
    assert max(map(width_of, text)) <= 80


def calls(*pids: int) -> Page:
    rows = [
        {"time": 0, "pid": pid, "comm": "a" * (pid % 20), "args": [1, 1 << 20], "result": -2} for pid in pids
    ]
    return Page(
        ("time", "args", "pid", "comm", "result"),
        rows,
        0,
        Accounting(),
        meanings={"result": "sonde_result_t"},
    )


def test_records_are_lines_under_one_heading_with_lists_last() -> None:
    file = io.StringIO()
    writer = RollWriter(file, Caption("sonde trace test"))
    writer.write(calls(1, 2))
    writer.write(calls(3))
    writer.close(Accounting(seen=3, delivered=3, final=True))
    lines = file.getvalue().splitlines()

    assert lines[0].split() == ["TIME", "PID", "COMM", "RESULT", "ARGS"]
    assert [line.split()[1] for line in lines[1:4]] == ["1", "2", "3"]
    assert all(line.endswith("1, 0x100000") for line in lines[1:4])
    assert lines[4] == "seen 3 = delivered 3 + lost 0"


def test_lines_are_cut_to_a_terminal() -> None:
    file = io.StringIO()
    RollWriter(file, Caption("sonde trace test"), width=lambda: 30).write(calls(1, 19))

    assert max(width_of(line) for line in file.getvalue().splitlines()) <= 30


def connections(*peers: str) -> Page:
    """As a stream of connections has them: text that varies, and numbers at the end."""
    columns = ("time", "pid", "comm", "peer", "end", "lifetime_ns", "sent_bytes", "retransmits")
    rows = [
        dict(
            zip(
                columns,
                (1_751_371_200_123_456_789, 4711, "nginx", peer, "closed", 5100, 1011, 0),
                strict=True,
            )
        )
        for peer in peers
    ]
    return Page(columns, rows, 0, Accounting(seen=len(rows), delivered=len(rows), final=True))


@pytest.mark.parametrize("width", range(30, 130, 7))
def test_numbers_are_whole_or_left_out_and_that_is_said(width: int) -> None:
    """A number without its end is another number; so is a peer without its port, while there is room for it."""
    file = io.StringIO()
    writer = RollWriter(file, Caption("sonde trace test"), width=lambda: width)
    given = connections("127.0.0.1:80", "[2001:db8::4711]:443")
    writer.write(given)
    writer.close(given.accounting)
    head, *rows = file.getvalue().splitlines()[:3]
    note = file.getvalue().partition("… no room for ")[2]

    assert max(map(width_of, (head, *rows))) <= width
    for row in rows:
        numbers = row.partition(" closed")[2]
        for title, number in (("LIFETIME", "5.10 µs"), ("SENT", "1011 B"), ("RETRANSMITS", " 0")):
            assert (number in numbers) or title in note
            numbers = numbers.replace(number, "", 1)
        assert not numbers.strip()
    assert (width < 85) == bool(note)
    if width >= 65:
        assert "[2001:db8::4711]:443 closed" in " ".join(rows[1].split())
