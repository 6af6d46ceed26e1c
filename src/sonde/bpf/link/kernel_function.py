"""The kernel's functions by name: which can be traced, and which come near to one that is not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sonde.bpf.link.tracefs import tracefs
from sonde.errors import AttachError, KernelError

if TYPE_CHECKING:
    from sonde.bpf.link.hook import Hook
    from sonde.bpf.program import Program


def traceable() -> Iterator[tuple[str, int, str]]:
    """Name, address and module ("" for none) of each function that ftrace can trace; address 0 before Linux 6.5.

    The same name may come several times. Raises KernelError without tracefs or without ftrace in the kernel.
    """
    try:
        with open(f"{tracefs()}/available_filter_functions_addrs") as file:
            for line in file:
                address, name, *module = line.split()
                yield name, int(address, 16), module[0].strip("[]") if module else ""
            return
    except FileNotFoundError:
        pass
    try:
        with open(f"{tracefs()}/available_filter_functions") as file:
            for line in file:
                name, *module = line.split()
                yield name, 0, module[0].strip("[]") if module else ""
    except OSError as error:
        raise KernelError(
            error.errno or 0, operation="list", subject="the kernel's traceable functions"
        ) from None


def nearest(name: str) -> list[str]:
    """Up to three functions of the kernel that are spelt like ``name``."""
    import difflib

    with open("/proc/kallsyms") as file:
        symbols = {fields[2] for line in file if (fields := line.split())[1] in "tTwW"}
    # Comparing with all 100,000 takes seconds: those of much the same length that share a part are enough.
    part = name.strip("_")[:4]
    likely = [symbol for symbol in symbols if part in symbol and abs(len(symbol) - len(name)) <= 8]
    return difflib.get_close_matches(name, likely, 3)


def no_such_function(program: Program, hook: Hook, name: str) -> AttachError:
    """Say that the kernel has no such function, and what comes near."""
    near = nearest(name)
    return AttachError(
        f"attach program {program.name} to {hook}",
        why=f"this kernel has no function {name} that can be probed (it may be inlined here)",
        hint=f"the nearest are {', '.join(near)}" if near else "grep for it in /proc/kallsyms",
        program=program.name,
        hook=str(hook),
    )
