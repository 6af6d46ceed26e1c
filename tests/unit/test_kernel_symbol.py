"""Kernel addresses → functions, from texts as /proc/kallsyms has them."""

from __future__ import annotations

import io

import numpy as np
import pytest

from sonde.enrich import kernel_symbol
from sonde.enrich.kernel_symbol import READ_AGAIN_S, KernelSymbols, Symbol, SymbolTable, with_kernel_symbols
from sonde.records.model import Column, RecordBatch, Schema

LIST = b"""\
0000000000001000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000040 T tcp_v4_rcv
ffffffff81000100 t udp_queue_rcv_skb
ffffffff81000200 D some_data
ffffffffc0001000 t nf_hook\t[nf_tables]
ffffffffc0000000 t bpf_prog_6deef7357e7b4530_count\t[bpf]
"""


def found(table: SymbolTable, *addresses: int) -> list[str | None]:
    places = table.places(np.array(addresses, np.uint64)).tolist()
    return [
        str(table.symbol(place, address)) if place >= 0 else None
        for place, address in zip(places, addresses, strict=True)
    ]


def test_an_address_is_in_the_function_that_begins_before_it() -> None:
    assert found(SymbolTable(LIST), 0xFFFFFFFF81000040, 0xFFFFFFFF810000FF, 0xFFFFFFFF81000100) == [
        "tcp_v4_rcv+0x0",
        "tcp_v4_rcv+0xbf",
        "udp_queue_rcv_skb+0x0",
    ]


def test_of_several_names_the_first_counts() -> None:
    assert found(SymbolTable(LIST), 0xFFFFFFFF81000010) == ["_stext+0x10"]


def test_modules_are_told_and_need_no_order() -> None:
    assert found(SymbolTable(LIST), 0xFFFFFFFFC0001008, 0xFFFFFFFFC0000004) == [
        "nf_hook+0x8 [nf_tables]",
        "bpf_prog_6deef7357e7b4530_count+0x4 [bpf]",
    ]


def test_what_is_in_no_function_has_no_name() -> None:
    """Data is no function, nor is what lies before all of them, or far behind one."""
    assert (
        found(SymbolTable(LIST), 0, 0x1010, 0xFFFFFFFF81000210, 0xFFFFFFFFC8000000, 2**64 - 1) == [None] * 5
    )


def test_an_alias_that_is_data_hides_no_function() -> None:
    text = b"ffffffff81000000 R a_table\nffffffff81000000 T a_function\n"
    assert found(SymbolTable(text), 0xFFFFFFFF81000001) == ["a_function+0x1"]


@pytest.mark.parametrize("text", [b"", b"0000000000000000 T _stext\n0000000000000000 t tcp_v4_rcv\n"])
def test_nothing_is_found_where_nothing_is_told(text: bytes) -> None:
    assert found(SymbolTable(text), 0, 0xFFFFFFFF81000040) == [None, None]


def test_functions_are_found_by_name() -> None:
    table = SymbolTable(LIST)
    assert table.address("tcp_v4_rcv") == 0xFFFFFFFF81000040
    assert table.address("nf_hook", "nf_tables") == 0xFFFFFFFFC0001000
    with pytest.raises(KeyError):
        table.address("some_data")


def test_hidden_addresses_are_said_to_be_and_absent_lists_too(caplog: pytest.LogCaptureFixture) -> None:
    def absent() -> io.BytesIO:
        raise FileNotFoundError

    hidden = KernelSymbols(lambda: io.BytesIO(b"0000000000000000 T _stext\n"))
    assert "kptr_restrict" in hidden.missing
    assert hidden.of(np.array([0xFFFFFFFF81000040], np.uint64)) == [None]
    hidden.of(np.array([0xFFFFFFFF81000040], np.uint64))
    assert [record.message for record in caplog.records] == [kernel_symbol.HIDDEN]
    assert "CONFIG_KALLSYMS" in KernelSymbols(absent).missing
    assert KernelSymbols(lambda: io.BytesIO(LIST)).missing == ""


def test_the_list_is_read_again_for_a_new_address_alone() -> None:
    """What is in no function stays so; a module that came is found, a while later."""
    texts, now = [LIST, LIST + b"ffffffffc1000000 t late\t[new]\n"], [0.0]
    file = io.BytesIO(texts[0])
    symbols = KernelSymbols(lambda: file, clock_s=lambda: now[0])
    late = np.array([0xFFFFFFFFC1000004], np.uint64)
    assert symbols.of(late) == [None]

    file.seek(0)
    file.write(texts[1])
    assert symbols.of(late) == [None]
    now[0] += READ_AGAIN_S
    assert symbols.of(late) == [Symbol("late", "new", 4)]

    reads = []
    file.read = lambda size: reads.append(size) or b""  # type: ignore[method-assign,assignment,func-returns-value]
    nowhere = np.array([0xFFFFFFFFF0000000], np.uint64)
    for expected in (1, 1, 1):
        now[0] += READ_AGAIN_S
        symbols.of(nowhere)
        assert len(reads) == expected


def test_columns_follow_from_the_type(monkeypatch: pytest.MonkeyPatch) -> None:
    symbols = KernelSymbols(lambda: io.BytesIO(LIST))
    monkeypatch.setattr(kernel_symbol, "kernel_symbols", lambda: symbols)
    addresses = np.array([0xFFFFFFFFC0001008, 0xFFFFFFFF81000040, 0x99, 0], np.uint64)
    schema = Schema("made.up", (Column("function_ip", "sonde_kernel_ip_t"),))
    batch = with_kernel_symbols(RecordBatch(schema, {"function_ip": addresses}))
    assert list(batch.rows(("function", "function_module", "function_offset_bytes"))) == [
        {"function": "nf_hook", "function_module": "nf_tables", "function_offset_bytes": 8},
        {"function": "tcp_v4_rcv", "function_module": None, "function_offset_bytes": 0},
        {"function": "0x99", "function_module": None, "function_offset_bytes": None},
        {"function": None, "function_module": None, "function_offset_bytes": None},
    ]
    assert len(with_kernel_symbols(batch.picking(slice(0, 0)))) == 0
