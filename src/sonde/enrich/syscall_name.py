"""Names of system calls: number, ABI and machine to name, and back."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sonde.enrich.numbered import numbered
from sonde.errors import KnobError, SondeError
from sonde.nearest import nearest

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.records.model import RecordBatch

SYSCALL, ABI = "sonde_syscall_t", "sonde_abi_t"
"""The typedefs of a number and of its table: probes/_include/types.bpf.h."""

NATIVE, COMPAT = 0, 1  # enum syscall_abi in probes/_include/syscall.bpf.h

X32_BIT = 0x4000_0000  # __X32_SYSCALL_BIT, arch/x86/include/uapi/asm/unistd.h
ARM_PRIVATE_BASE = 0x0F_0000  # __ARM_NR_BASE, arch/arm/include/uapi/asm/unistd.h

MACHINES = MappingProxyType({"x86_64": ("X86_64", "I386"), "aarch64": ("ARM64", "ARM")})
"""What os.uname() says → the tables of its 64-bit and its 32-bit calls."""

SELECTABLE_END = 1024
"""Numbers below this can be selected: SYSCALL_SET_BITS in probes/syscalls/call.bpf.h."""

UNKNOWN = re.compile(r"syscall_(-?\d+)")


@dataclass(frozen=True, slots=True)
class SyscallNumbers:
    """A call's number in each table of a machine; None where that has no such call. x32's is without its mark."""

    native: int | None
    compat: int | None
    x32: int | None = None


@cache
def syscall_names(machine: str, abi: int = NATIVE) -> Mapping[int, str]:
    """Give number → name; raises KnobError for a machine whose calls are not known."""
    from sonde.enrich import syscall_table

    if machine not in MACHINES:
        what, valid = f"name the system calls of {machine}", ", ".join(MACHINES)
        raise KnobError(what, why="there is no table of them", valid=valid)
    names = numbered(getattr(syscall_table, MACHINES[machine][abi]))
    if machine == "x86_64" and abi == NATIVE:
        names |= {number | X32_BIT: name for number, name in numbered(syscall_table.X32).items()}
    if machine == "aarch64" and abi == COMPAT:
        private = numbered(syscall_table.ARM_PRIVATE)
        names |= {number + ARM_PRIVATE_BASE: name for number, name in private.items()}
    return MappingProxyType(names)


def syscall_name(number: int, abi: int = NATIVE, machine: str | None = None) -> str:
    """Name a number as the kernel got it (``u32``); ``syscall_N`` where the newest kernel known has none."""
    found = syscall_names(machine or os.uname().machine, abi).get(number)
    # The kernel's numbers are signed: a tracer that forbids a call makes it -1.
    return found or f"syscall_{number - (1 << 32) if number >> 31 else number}"


def syscall_numbers(name: str, machine: str | None = None) -> SyscallNumbers:
    """Find a call by name, ``syscall_N`` included; raises KnobError with the nearest names.

    Calls that no set can hold raise it too: numbers from SELECTABLE_END on, which are arm's own and no calls at all.
    """
    found = _found(name, machine or os.uname().machine)
    numbers = [number for number in (found.native, found.compat, found.x32) if number is not None]
    if all(0 <= number < SELECTABLE_END for number in numbers):
        return found
    raise KnobError(
        f"select system call {name}",
        why=f"its number is {numbers[0]}",
        hint=f"only calls with numbers from 0 to {SELECTABLE_END - 1} can be selected",
        knob="syscall",
    )


def _found(name: str, machine: str) -> SyscallNumbers:
    unknown = UNKNOWN.fullmatch(name)
    if unknown:
        number = int(unknown[1])
        return SyscallNumbers(number, number)
    native, compat = _numbers(machine, NATIVE), _numbers(machine, COMPAT)
    if name not in native and name not in compat:
        near = nearest(name, sorted({*native, *compat}))
        hint = f"the nearest are {', '.join(near)}" if near else "names are those of the kernel, as openat"
        raise KnobError(
            f"select system call {name}",
            why=f"Linux on {machine} has none of that name",
            hint=hint,
            knob="syscall",
            valid=", ".join(near),
        )
    found = native.get(name, (None, None))
    return SyscallNumbers(found[0], compat.get(name, (None, None))[0], found[1])


def syscall_number(name: str, abi: int = NATIVE, machine: str | None = None) -> int | None:
    """Give a call's number in one table, None if it is in the other only; raises KnobError with the nearest names."""
    numbers = syscall_numbers(name, machine)
    return numbers.compat if abi == COMPAT else numbers.native


@cache
def _numbers(machine: str, abi: int) -> Mapping[str, tuple[int | None, int | None]]:
    """Name → the number, and the number that x32 programs use if there is one."""
    plain: dict[str, int] = {}
    x32: dict[str, int] = {}
    for number, name in syscall_names(machine, abi).items():
        if machine == "x86_64" and number & X32_BIT:
            x32[name] = number & ~X32_BIT
        else:
            plain[name] = number
    return {name: (plain.get(name), x32.get(name)) for name in plain | x32}


def name_syscalls(
    numbers: npt.NDArray[Any], abis: npt.NDArray[Any] | int = NATIVE, machine: str | None = None
) -> npt.NDArray[np.object_]:
    """Name an array of numbers: each different pair of number and ABI is looked up once."""
    import numpy as np

    pairs = np.asarray(numbers).astype(np.uint32).astype(np.uint64) << np.uint64(8)
    pairs |= np.asarray(abis).astype(np.uint64)
    different, index = np.unique(pairs, return_inverse=True)
    names = np.array(
        [syscall_name(pair >> 8, pair & 0xFF, machine) for pair in different.tolist()], dtype=object
    )
    return names[index] if len(names) else np.empty(0, dtype=object)


def with_syscall_name(batch: RecordBatch) -> RecordBatch:
    """Put names in the place of numbers; the row of what found a table full is named ``other``."""
    import numpy as np

    added = {}
    abis = batch.schema.having(ABI)
    for column in batch.schema.having(SYSCALL):
        numbers = np.asarray(batch[column.name])
        names = name_syscalls(numbers, np.asarray(batch[abis[0].name]) if abis else NATIVE)
        if "is_other" in batch.columns:
            names[np.asarray(batch["is_other"])] = "other"
        added[column.name] = names
    return batch.adding(added)


def names_of(given: object) -> tuple[str, ...]:
    """Take names of system calls that a program gives: some, or one; raises SondeError for what is no name at all."""
    each = (given,) if isinstance(given, str | bytes) else given
    names = tuple(each) if isinstance(each, Iterable) else ()
    wrong = [name for name in names if not isinstance(name, str)]
    if not names or wrong:
        why = f"{(wrong or [given])[0]!r} is no name of a system call"
        raise SondeError("trace system calls", why=why, hint='give names, as ["openat", "read"]')
    return names
