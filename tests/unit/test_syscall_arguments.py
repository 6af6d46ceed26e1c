"""Arguments of system calls: how many, their names, and how they are shown."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from sonde.enrich.argument_table import ARGUMENTS
from sonde.enrich.syscall_arguments import Arguments, Parameter, parameters_of
from sonde.enrich.syscall_name import COMPAT, NATIVE, syscall_names
from sonde.records.model import Column, RecordBatch, Schema
from sonde.views.arguments import with_arguments, words

SCHEMA = Schema(
    "test.calls",
    (
        Column("syscall", "sonde_syscall_t"),
        Column("abi", "sonde_abi_t"),
        Column("args", "sonde_argument_t"),
    ),
)


def rows_of(*calls: tuple[str, int, list[int]]) -> list[dict[str, Any]]:
    """Make the rows that a trace shows of calls, each with six registers."""
    columns: dict[str, Any] = {
        "syscall": np.array([name for name, _, _ in calls], dtype=object),
        "abi": np.array([abi for _, abi, _ in calls], np.uint8),
        "args": np.array([[*registers, *[99] * 6][:6] for _, _, registers in calls], np.uint64),
    }
    batch = RecordBatch(SCHEMA, columns)
    return with_arguments(list(batch.rows(("syscall", "args"))), batch)


def test_a_call_has_as_many_as_the_kernel_reads() -> None:
    """openat four, close one, getppid none, and no call more than six."""
    assert [len(parameters_of(name, machine="x86_64") or ()) for name in ("openat", "close", "getppid")] == [
        4, 1, 0,
    ]  # fmt: skip
    for entry in ARGUMENTS.split(";"):
        assert len(entry.split()) <= 7


def test_nearly_every_call_is_in_the_table() -> None:
    """What no kernel of today has any more is not."""
    names = {name for number, name in syscall_names("x86_64").items() if number < 1 << 30}
    unknown = {name for name in names if parameters_of(name, machine="x86_64") is None}
    assert {"create_module", "vserver"} <= unknown
    assert len(unknown) < 20


def test_arm_has_clones_last_arguments_the_other_way_round() -> None:
    """CONFIG_CLONE_BACKWARDS."""
    x86, arm = (parameters_of("clone", machine=machine) for machine in ("x86_64", "aarch64"))
    assert x86 is not None
    assert arm is not None
    assert [each.name for each in x86[3:]] == ["child_tidptr", "tls"]
    assert [each.name for each in arm[3:]] == ["tls", "child_tidptr"]


def test_a_signed_number_is_in_the_lower_half_of_its_register() -> None:
    """AT_FDCWD as a 64-bit program hands it over, and -1 with all bits set."""
    parameter = Parameter("dfd", is_signed=True)
    assert parameter.value(0xFFFF_FF9C) == parameter.value(0xFFFF_FFFF_FFFF_FF9C) == -100
    assert parameter.value(0xABCD_0000_0007) == 7


def test_rows_hold_a_calls_own_arguments() -> None:
    """The registers behind them are somebody else's; of a call that is not known, and of a 32-bit one, all six."""
    read, unknown, compat = rows_of(
        ("read", NATIVE, [3, 0x7FFE_0000, 832]), ("syscall_999", NATIVE, [1]), ("read", COMPAT, [3, 4, 5])
    )
    assert read["args"] == [3, 0x7FFE_0000, 832]
    assert unknown["args"] == [1, 99, 99, 99, 99, 99]
    assert compat["args"] == [3, 4, 5, 99, 99, 99]
    assert json.dumps(read["args"]) == "[3, 2147352576, 832]"


def test_people_see_names() -> None:
    """Addresses in hexadecimal, what may be negative with its sign, masks in hexadecimal."""
    (row,) = rows_of(("openat", NATIVE, [0xFFFF_FF9C, 0x1000, 0x80000, 0]))
    assert words(row["args"]) == "dfd=-100, filename=0x1000, flags=0x80000, mode=0"
    (row,) = rows_of(("execve", NATIVE, [0x1000, 0, 5]))
    assert words(row["args"]) == "filename=0x1000, argv=NULL, envp=0x5"
    assert words(Arguments([1, 1 << 20], None)) == "1, 0x100000"
    assert words(Arguments([1, 2], ())) == ""
