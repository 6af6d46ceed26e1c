"""The kernel's functions by name: which can be traced, and which come near to one that is not there."""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sonde._libbpf.check import error_for
from sonde.bpf.link.tracefs import tracefs
from sonde.errors import AttachError
from sonde.nearest import nearest

if TYPE_CHECKING:
    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program


def traceable() -> Iterator[tuple[str, int, str]]:
    """Name, address and module ("" for none) of each function that ftrace can trace; address 0 before Linux 6.5.

    The same name may come several times. Raises KernelError without tracefs or without ftrace in the kernel.
    """
    root = tracefs()
    name = "available_filter_functions_addrs"
    if not os.path.exists(f"{root}/{name}"):
        name = "available_filter_functions"
    try:
        with open(f"{root}/{name}") as file:
            for line in file:
                address, function, *module = line.split() if name.endswith("_addrs") else ("0", *line.split())
                yield function, int(address, 16), module[0].strip("[]") if module else ""
    except OSError as error:
        number = error.errno or errno.EIO
        raise error_for(number, "read", f"{name} in tracefs", capability="CAP_SYS_ADMIN") from None


def first_untraceable(names: tuple[str, ...]) -> str:
    """The first of these functions that ftrace cannot trace; empty where it can trace them all.

    A function with several names, as every system call without arguments has, is listed by one of them and traced by
    any: those at the same address are the same.
    """
    listed = {name for name, _, _ in traceable()}
    with open("/proc/kallsyms") as file:
        symbols = [(fields[0], fields[2]) for line in file if (fields := line.split())[0].strip("0")]
    traced = {address for address, name in symbols if name in listed}
    known = listed.union(name for address, name in symbols if address in traced)
    return next((name for name in names if name not in known), "")


def beginnings(addresses: set[int]) -> set[int]:
    """Where the functions begin in which these addresses lie.

    ftrace lists where it has its own instruction, behind the ENDBR of a kernel with CONFIG_X86_KERNEL_IBT; cookies are
    looked up by where the function begins (c09eb2e578eb). Without CAP_SYSLOG nobody can tell: then as they are.
    """
    with open("/proc/kallsyms") as file:
        symbols = sorted({int(line.split(" ", 1)[0], 16) for line in file})
    if symbols[-1] == 0:
        return addresses
    return {symbols[bisect_right(symbols, address) - 1] for address in addresses}


def nearest_functions(name: str, *, prefix: str = "") -> list[str]:
    """Up to three functions spelt like ``name``, of those that begin with ``prefix``, which is left out."""
    with open("/proc/kallsyms") as file:
        symbols = {fields[2] for line in file if (fields := line.split())[1] in "tTwW"}
    names = {symbol.removeprefix(prefix) for symbol in symbols if symbol.startswith(prefix)}
    # Comparing with all 100,000 takes seconds: those of much the same length that share a part are enough.
    part = name.strip("_")[:4]
    return nearest(name, [each for each in names if part in each and abs(len(each) - len(name)) <= 8])


def no_such_function(program: Program, hook: Hook, name: str) -> AttachError:
    """Say that the kernel has no such function, and what comes near."""
    near = nearest_functions(name)
    return AttachError(
        f"attach program {program.name} to {hook}",
        why=f"this kernel has no function {name} that can be probed (it may be inlined here)",
        hint=f"the nearest are {', '.join(near)}" if near else "grep for it in /proc/kallsyms",
        program=program.name,
        hook=str(hook),
    )
