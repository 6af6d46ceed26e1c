"""Values, lines and tables as people read them."""

from __future__ import annotations

import pytest

from sonde.enrich.duration import UNIT_NS
from sonde.records.accounting import Accounting
from sonde.views import cell
from sonde.views.bars import bar, coarser
from sonde.views.column import shown
from sonde.views.equation import equation
from sonde.views.line import cut, cut_line, fitted, painted, plain, width_of, wrapped
from sonde.views.page import Page
from sonde.views.table import Table


@pytest.mark.parametrize(
    ("ns", "expected"),
    [
        (0, "0 ns"),
        (812, "812 ns"),
        (999.4, "999 ns"),
        (999.7, "1.00 µs"),
        (1_000, "1.00 µs"),
        (12_345, "12.3 µs"),
        (99_960, "100 µs"),
        (999_999, "1.00 ms"),
        (4_560_000, "4.56 ms"),
        (1_250_000_000, "1.25 s"),
        (99_400_000_000, "99.4 s"),
        (100_000_000_000, "1m 40s"),
        (5_025_000_000_000, "1h 23m"),
    ],
)
def test_a_duration_has_three_digits_and_the_unit_that_suits_it(ns: float, expected: str) -> None:
    assert cell.duration(ns) == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.00 KiB"), (1 << 20, "1.00 MiB"), (3 << 42, "12.0 TiB")],
)
def test_a_size_counts_in_powers_of_two(size: int, expected: str) -> None:
    assert cell.size(size) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("nginx", "nginx"),
        ("a b", "a b"),
        ("\x1b[2Jevil", "\\x1b[2Jevil"),
        ("tab\tnew\n", "tab\\x09new\\x0a"),
        (b"\xff\xfe".decode(errors="surrogateescape"), "\\xff\\xfe"),
        ("\u202e", "\\u202e"),
        ("größe", "größe"),
    ],
)
def test_text_from_processes_cannot_move_the_cursor(text: str, expected: str) -> None:
    """A process may give itself any name, and names go to terminals."""
    assert cell.text(text) == expected


def test_a_moment_for_machines_is_utc_to_the_nanosecond() -> None:
    assert cell.rfc3339(1_751_371_200_000_000_123) == "2025-07-01T12:00:00.000000123Z"


def test_a_clock_shows_the_digits_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    try:
        assert cell.clock(1_751_371_200_123_456_789) == "12:00:00"
        assert cell.clock(1_751_371_200_123_456_789, digits=6) == "12:00:00.123456"
    finally:
        monkeypatch.undo()
        time.tzset()


def test_wide_characters_take_two_columns() -> None:
    assert [width_of("abc"), width_of("日本"), width_of("e\u0301")] == [3, 4, 1]


@pytest.mark.parametrize("width", range(8))
def test_a_cut_text_never_takes_more_than_its_width(width: int) -> None:
    for text in ("abcdef", "日本語テスト", "a日b本c"):
        assert width_of(cut(text, width)) <= width
        assert width_of(fitted(text, width)) == width
        assert width_of(plain(cut_line([(text, "bold"), (text, "")], width))) <= width


def test_numbers_are_padded_on_the_left_and_text_on_the_right() -> None:
    assert [fitted("7", 3, right=True), fitted("a", 3)] == ["  7", "a  "]


def test_a_line_breaks_between_its_spans() -> None:
    line = [("seen 10", "bold"), (" = aggregated 9", ""), (" + lost 1", "red"), ("; in flight 3", "")]

    assert [plain(each) for each in wrapped(line, 25)] == [
        "seen 10 = aggregated 9",
        "  + lost 1; in flight 3",
    ]
    assert [plain(each) for each in wrapped(line, 33)] == ["seen 10 = aggregated 9 + lost 1", "  in flight 3"]


def test_styles_become_escape_sequences_only_when_painted() -> None:
    line = [("a", "bold red"), ("b", "")]

    assert plain(line) == "ab"
    assert painted(line) == "\x1b[1;31ma\x1b[0mb"


def test_titles_leave_out_units_and_what_all_measures_share() -> None:
    names = ("pid", "count", "duration_sum_ns", "duration_p50_ns", "wait_sum_ns")
    columns = shown(names[:4], meanings={}, sample={"count": 1})

    assert [column.title for column in columns] == ["PID", "COUNT", "SUM", "P50"]
    assert [column.title for column in shown(names, meanings={}, sample={})] == [
        "PID",
        "COUNT",
        "DURATION SUM",
        "DURATION P50",
        "WAIT SUM",
    ]


def test_identifiers_have_no_separators_and_unknown_values_are_dashes() -> None:
    pid, count, error = shown(
        ("pid", "count", "error"), meanings={}, sample={"pid": 1, "count": 1, "error": "ENOENT"}
    )

    assert [pid.cell(1234567), count.cell(1234567), error.cell(None)] == ["1234567", "1,234,567", "-"]


def test_totals_of_a_sample_are_marked_and_quantiles_are_not() -> None:
    count, total, p50 = shown(
        ("count", "duration_sum_ns", "duration_p50_ns"), meanings={}, sample={"count": 1}
    )
    cells = [count.cell(7, estimated=True), total.cell(7, estimated=True), p50.cell(7, estimated=True)]

    assert cells == ["~7", "~7 ns", "7 ns"]


def page(*rows: dict[str, object], columns: tuple[str, ...] = ("pid", "comm", "count")) -> Page:
    return Page(columns, rows, 0, Accounting())


def test_a_table_aligns_its_columns() -> None:
    lines = Table("count").draw(
        page({"pid": 1, "comm": "init", "count": 12345}, {"pid": 1234, "comm": "bash", "count": 7})
    )

    assert [plain(line) for line in lines] == [
        " PID  COMM   COUNT",
        "   1  init  12,345",
        "1234  bash       7",
    ]


def test_a_narrow_terminal_cuts_text_and_never_numbers() -> None:
    row = {
        "pid": 4194304,
        "comm": "a-very-long-command",
        "syscall": "clock_nanosleep_time64",
        "count": 123456789,
    }
    lines = Table().draw(page(row, columns=("pid", "comm", "syscall", "count")), width=40)

    assert max(width_of(plain(line)) for line in lines) <= 40
    assert plain(lines[1]).startswith("4194304 ")
    assert plain(lines[1]).endswith(" 123,456,789")


@pytest.mark.parametrize("width", range(30, 90, 3))
def test_what_names_a_row_stays_and_the_last_numbers_are_left_out(width: int) -> None:
    """An address without its end is another one; the column that the order comes from is there in any case."""
    row = {
        "peer_address": "192.168.100.200",
        "count": 12345,
        "sent_bytes": 1 << 20,
        "resets": 17,
        "failed": 19,
    }
    table = Table("count")
    head, line = (plain(each) for each in table.draw(page(row, columns=tuple(row)), width=width))

    assert line.startswith("192.168.100.200 ")
    assert max(map(width_of, (head, line))) <= width
    words = ["12,345", "1.00 MiB", "17", "19"]
    assert line.split()[1:] == " ".join(words[: 4 - len(table.left_out)]).split()
    assert ["SENT", "RESETS", "FAILED"][3 - len(table.left_out) :] == table.left_out
    assert (width < 41) == bool(table.left_out)


def test_titles_are_cut_before_a_figure_has_no_room() -> None:
    """A flow of the network in 80 columns: titles as long as DESTINATION PORT stand over small numbers."""
    flow = {
        "interface": "eth0",
        "direction": "ingress",
        "protocol": "TCP",
        "source": "10.1.1.100",
        "source_port": 40009,
        "destination": "192.168.100.200",
        "destination_port": 443,
        "packets": 1234567,
        "bytes": 1234567890,
        "tcp_flags": "SYN,ACK",
    }
    table = Table("packets")
    head, line = (plain(each) for each in table.draw(page(flow, columns=tuple(flow)), width=80))

    assert head.split()[5:] == ["DESTINATION", "DES…", "PACKETS", "BYTES"]
    assert line.split() == [
        "eth0",
        "ingress",
        "TCP",
        "10.1.1.100",
        "40009",
        "192.168.100.200",
        "443",
        "1,234,567",
        "1,234,567,890",
    ]
    assert table.left_out == ["TCP FLAGS"]


def test_a_column_stays_as_wide_as_it_was() -> None:
    """What is redrawn every second must not jump."""
    table = Table()
    wide = plain(table.draw(page({"pid": 1, "comm": "x" * 15, "count": 1}))[0])

    assert plain(table.draw(page({"pid": 1, "comm": "y", "count": 1}))[0]) == wide


def test_the_equation_says_what_was_lost_and_why_events_were_filtered() -> None:
    accounting = Accounting(
        seen=1310, aggregated=1000, filtered=300, lost={"map_full": 10, "ring_full": 0}, in_flight=2,
        notes={"child_returns": 4, "none": 0}, final=True,
    )  # fmt: skip
    lines = [plain(line) for line in equation(accounting, filtered="sonde's own")]

    assert lines == [
        "seen 1,310 = aggregated 1,000 + filtered 300 + lost 10 (map full 10); in flight 2; child returns 4",
        "filtered: sonde's own",
    ]


def test_figures_of_a_running_probe_say_so_far() -> None:
    assert plain(equation(Accounting(seen=3, aggregated=2))[0]) == "seen 3 = aggregated 2 + lost 0 (so far)"


def test_an_equation_that_does_not_hold_is_not_hidden() -> None:
    text = plain(equation(Accounting(seen=3, delivered=2, final=True))[0])

    assert text == "seen 3 = delivered 2 + lost 0; NOT BALANCED by 1: a bug of sonde's"


def test_a_bar_is_never_empty_for_something() -> None:
    assert [bar(0, 8), bar(0.001, 8), bar(0.5, 8), bar(1, 8), bar(0.55, 8)] == [
        "",
        "▏",
        "████",
        "████████",
        "████▍",
    ]


def test_coarser_buckets_end_at_powers_of_two_of_a_second_and_keep_every_count() -> None:
    edges = [UNIT_NS * 2.0 ** (at / 2) for at in range(21, 32)]
    counts = list(range(1, 11))
    merged_edges, merged = coarser(edges, counts, buckets_max=4)

    assert sum(merged) == sum(counts)
    assert len(merged) <= 4
    assert merged_edges == [UNIT_NS * 2.0**at for at in (10, 12, 14, 16)]
    assert merged == [1 + 2 + 3, 4 + 5 + 6 + 7, 8 + 9 + 10]


def test_the_first_bucket_begins_at_zero() -> None:
    assert coarser([0.0, UNIT_NS * 2**0.5, UNIT_NS * 2], [3, 4], buckets_max=1) == (
        [0.0, UNIT_NS * 2],
        [7],
    )
