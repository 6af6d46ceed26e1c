"""Names of system calls and errors, and the numbers that the BPF program knows by heart."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from sonde.enrich import errno_table, syscall_table
from sonde.enrich.errno_name import errno_name, errno_names, name_errors, with_error_name
from sonde.enrich.numbered import numbered
from sonde.enrich.syscall_name import (
    ARM_PRIVATE_BASE,
    COMPAT,
    NATIVE,
    SELECTABLE_END,
    X32_BIT,
    name_syscalls,
    syscall_name,
    syscall_names,
    syscall_number,
    syscall_numbers,
    with_syscall_name,
)
from sonde.errors import KnobError
from sonde.records.model import Column, RecordBatch, Schema

SYSCALL_HEADER = Path(__file__).parents[2] / "src/sonde/probes/_include/syscall.bpf.h"


def test_a_table_counts_on_from_its_numbers() -> None:
    """Words after a number have it and those that follow."""
    assert numbered("0 read write 5 fstat\nlstat") == {0: "read", 1: "write", 5: "fstat", 6: "lstat"}


@pytest.mark.parametrize(
    ("machine", "abi", "number", "name"),
    [
        ("x86_64", NATIVE, 0, "read"),
        ("x86_64", NATIVE, 257, "openat"),
        ("x86_64", NATIVE, 435, "clone3"),
        ("x86_64", COMPAT, 20, "getpid"),
        ("x86_64", COMPAT, 403, "clock_gettime64"),
        ("x86_64", NATIVE, X32_BIT | 0, "read"),
        ("x86_64", NATIVE, X32_BIT | 520, "execve"),
        ("aarch64", NATIVE, 56, "openat"),
        ("aarch64", NATIVE, 93, "exit"),
        ("aarch64", COMPAT, 322, "openat"),
        ("aarch64", COMPAT, ARM_PRIVATE_BASE + 5, "set_tls"),
    ],
)
def test_a_number_has_the_name_of_its_table(machine: str, abi: int, number: int, name: str) -> None:
    """The same number is another call in another table."""
    assert name == syscall_name(number, abi, machine)


def test_an_unknown_number_is_named_by_itself() -> None:
    """A number beyond the tables, one that only x32 has, and -1, which a tracer puts in the place of a call."""
    assert syscall_name(1999, NATIVE, "x86_64") == "syscall_1999"
    assert syscall_name(520, NATIVE, "x86_64") == "syscall_520"
    assert syscall_name(0xFFFF_FFFF, NATIVE, "x86_64") == "syscall_-1"


def test_the_tables_are_of_a_new_kernel_and_whole() -> None:
    """Linux 7's calls are there; each table is dense enough to be one, and no name has two numbers."""
    for machine in ("x86_64", "aarch64"):
        for abi in (NATIVE, COMPAT):
            names = {n: name for n, name in syscall_names(machine, abi).items() if not n & X32_BIT}
            assert names[471] == "rseq_slice_yield"
            assert len(names) > 300
            assert len(names) == len(set(names.values()))
    assert "linux-libc-dev" in (syscall_table.__doc__ or "")
    assert "linux-libc-dev" in (errno_table.__doc__ or "")


def test_a_name_has_a_number_in_each_table() -> None:
    """openat in all, fork in none of arm64's own, set_tls in arm's only; x32's without its mark."""
    assert _of("openat", "x86_64") == (257, 295, 257)
    assert _of("execve", "x86_64") == (59, 11, 520)
    assert _of("openat", "aarch64") == (56, 322, None)
    assert _of("fork", "aarch64") == (None, 2, None)
    assert syscall_number("openat", NATIVE, "x86_64") == 257
    assert syscall_number("openat", COMPAT, "x86_64") == 295
    assert syscall_number("fork", NATIVE, "aarch64") is None


def _of(name: str, machine: str) -> tuple[int | None, int | None, int | None]:
    found = syscall_numbers(name, machine)
    return found.native, found.compat, found.x32


def test_an_unknown_call_is_selected_by_the_name_that_it_is_shown_under() -> None:
    """syscall_999 is number 999, in either table."""
    assert _of("syscall_999", "x86_64") == (999, 999, None)


def test_a_wrong_name_is_refused_with_the_nearest() -> None:
    """opennat is none; openat is."""
    with pytest.raises(KnobError, match=r"opennat.*openat") as caught:
        syscall_numbers("opennat", "x86_64")
    assert "openat" in caught.value.valid
    with pytest.raises(KnobError, match="names are those of the kernel"):
        syscall_numbers("§", "x86_64")


@pytest.mark.parametrize("name", ["syscall_1999", "syscall_-1", "set_tls"])
def test_what_no_set_can_hold_is_refused(name: str) -> None:
    """Sets end at 1024; arm's own calls and a caller's nonsense are counted, but cannot be selected."""
    with pytest.raises(KnobError, match="from 0 to 1023"):
        syscall_numbers(name, "aarch64")
    program = SYSCALL_HEADER.parents[1] / "syscalls" / "call.bpf.h"
    assert f"SYSCALL_SET_BITS = {SELECTABLE_END}," in program.read_text()


def test_a_machine_without_tables_is_refused() -> None:
    """riscv64's calls are not known here."""
    with pytest.raises(KnobError, match="x86_64, aarch64"):
        syscall_names("riscv64")


def test_every_name_is_found_by_its_number_and_back() -> None:
    """Both ways give the same, in every table of every machine."""
    for machine in ("x86_64", "aarch64"):
        for abi in (NATIVE, COMPAT):
            for number, name in syscall_names(machine, abi).items():
                if machine == "aarch64" and number >= ARM_PRIVATE_BASE:
                    continue
                found = syscall_numbers(name, machine)
                assert number in (found.native, found.compat, (found.x32 or 0) | X32_BIT)


def test_an_array_is_named_at_once() -> None:
    """Numbers and ABIs side by side; the array may be empty."""
    numbers = np.array([0, 20, 20, 0xFFFF_FFFF, 1999], np.uint32)
    abis = np.array([0, 1, 0, 0, 0], np.uint8)

    named = name_syscalls(numbers, abis, "x86_64").tolist()

    assert named == ["read", "getpid", "writev", "syscall_-1", "syscall_1999"]
    assert name_syscalls(numbers[[0, 2]], machine="x86_64").tolist() == ["read", "writev"]
    assert name_syscalls(numbers[:0], abis[:0], "x86_64").tolist() == []


def test_a_batch_is_named_by_its_meanings() -> None:
    """The typedefs say which columns are numbers and errors; the folded row is other, without an error."""
    schema = Schema(
        "syscalls.latency",
        (
            Column("syscall", "sonde_syscall_t", is_key=True),
            Column("error", "sonde_errno_t", is_key=True),
            Column("abi", "sonde_abi_t", is_key=True),
        ),
    )
    number = syscall_number("openat")
    columns: dict[str, npt.NDArray[Any]] = {
        "syscall": np.array([number, 1999, 0], np.uint32),
        "error": np.array([2, 0, 0], np.uint16),
        "abi": np.zeros(3, np.uint8),
        "is_other": np.array([False, False, True]),
    }

    batch = with_error_name(with_syscall_name(RecordBatch(schema, columns)))

    assert [(row["syscall"], row["error"]) for row in batch.rows()] == [
        ("openat", "ENOENT"),
        ("syscall_1999", None),
        ("other", None),
    ]


def test_errors_have_the_names_that_python_has() -> None:
    """Each error that Python knows has one of the names that Python knows."""
    for number in errno.errorcode:
        name = errno_name(number)
        assert name is not None
        assert getattr(errno, name) == number


def test_the_kernels_internal_errors_have_names() -> None:
    """Results that signals turn into restarts, and those of drivers and NFS."""
    names = [errno_name(number) for number in (512, 513, 514, 515, 516, 524, 530)]
    assert names == [
        "ERESTARTSYS",
        "ERESTARTNOINTR",
        "ERESTARTNOHAND",
        "ENOIOCTLCMD",
        "ERESTART_RESTARTBLOCK",
        "ENOTSUPP",
        "ERECALLCONFLICT",
    ]
    assert errno_name(4000) == "errno_4000"
    assert errno_name(0) is None


def test_an_array_of_errors_is_named_at_once() -> None:
    """No error is masked; the array may be empty."""
    assert name_errors(np.array([1, 0, 1], np.uint16)).tolist() == ["EPERM", None, "EPERM"]
    assert name_errors(np.empty(0, np.uint16)).tolist() == []
    assert len(errno_names()) == len(set(errno_names().values()))


PREFIXES = {
    "X86_64": ("x86_64", NATIVE, 0),
    "X32": ("x86_64", NATIVE, X32_BIT),
    "ARM64": ("aarch64", NATIVE, 0),
    "I386": ("x86_64", COMPAT, 0),
    "ARM": ("aarch64", COMPAT, 0),
}


def test_the_numbers_in_the_program_are_those_of_the_tables() -> None:
    """Calls that the BPF program treats apart (exit, fork, sigreturn, exec) have the generated tables' numbers."""
    constants = re.findall(
        r"^\t(X86_64|X32|ARM64|I386|ARM|COMPAT)_(\w+) = (\d+),", SYSCALL_HEADER.read_text(), re.MULTILINE
    )
    checked = 0
    for prefix, name, number in constants:
        for table in ("I386", "ARM") if prefix == "COMPAT" else (prefix,):
            if name == "TIF_32BIT":
                continue
            machine, abi, mark = PREFIXES[table]
            assert name.lower() == syscall_name(int(number) | mark, abi, machine), (prefix, name)
            checked += 1
    assert checked >= 30


@pytest.mark.skipif(
    os.uname().machine not in ("x86_64", "aarch64"), reason=f"no tables for {os.uname().machine}"
)
def test_this_machine_is_the_default() -> None:
    """Without a machine it is the one that this runs on."""
    assert syscall_name(syscall_numbers("openat").native or 0) == "openat"
