"""Kernel addresses → functions, by this kernel's own list."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest

from sonde.enrich.kernel_symbol import KALLSYMS, KernelSymbols

pytestmark = pytest.mark.beside

PASSING = ("[bpf]", "[__builtin__")
BEFORE_AND_AFTER = """
from sonde.enrich.kernel_symbol import KernelSymbols
early, late = KernelSymbols(), KernelSymbols()
early.open()
from sonde.agent.privileges import drop_privileges
drop_privileges(user="nobody")
late.open()
print(early.missing)
print(late.missing)
"""


def test_functions_are_found_by_their_addresses() -> None:
    """Each 997th of the kernel's, two bytes behind its beginning, under one of the names that are there."""
    names: dict[int, set[str]] = {}
    with open(KALLSYMS) as file:
        for line in file:
            address, kind, name, *module = line.split()
            # Programs of others, and what leads to them, come and go.
            if kind in "tT" and not (module and module[0].startswith(PASSING)):
                names.setdefault(int(address, 16), set()).add(name)
    if set(names) == {0}:
        pytest.skip(f"this kernel hides its addresses: {KALLSYMS} has zeros")
    # Of those that are one byte long the address would be in the next.
    known = sorted(names)
    chosen = [here for here, behind in pairwise(known) if behind - here > 2][::997]
    found = KernelSymbols().of(np.array([address + 2 for address in chosen], np.uint64))
    told = [
        (each.name in names[address], each.offset_bytes)
        for each, address in zip(found, chosen, strict=True)
        if each
    ]
    assert told == [(True, 2)] * len(chosen)


def test_who_opened_the_list_sees_it_without_privileges() -> None:
    """The agent opens it before it gives them up; afterwards the kernel may show zeros."""
    program = [sys.executable, "-c", BEFORE_AND_AFTER]
    told = subprocess.run(program, check=True, capture_output=True, text=True, timeout=120).stdout
    early, late = told.splitlines()
    assert early == ""
    if "kptr_restrict" not in late:
        pytest.skip("this kernel shows its addresses to everybody: kernel.perf_event_paranoid allows it")
