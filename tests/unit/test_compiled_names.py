"""Names of compiled code: a process's own, and those of what it has from the process that it was forked from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from sonde.bpf.side_band import EXEC, FORK, MAP, MappedPath, SideBandRecords, event_dtype
from sonde.enrich.address_spaces import AddressSpaces
from sonde.enrich.process_maps import CodeMapping
from sonde.enrich.symbols.compiled_names import CompiledNames

GRANDPARENT, PARENT, CHILD = (2**22 + number for number in (1, 2, 3))
"""Numbers that no process has."""
MEMORY = MappedPath("", 0, 0)
OLD, NEW = 0x10000, 0x20000


@pytest.fixture(autouse=True)
def maps() -> Iterator[None]:
    """Each process names one place its own way, and another that it alone names."""
    paths = [Path(f"/tmp/perf-{pid}.map") for pid in (GRANDPARENT, PARENT, CHILD)]
    for path, text in zip(
        paths,
        ("10300 10 g\n10400 10 g\n", "10100 10 p\n10300 10 p\n20100 10 p\n", "10200 10 c\n"),
        strict=True,
    ):
        path.write_text(text)
    yield
    for path in paths:
        path.unlink()


def spaces_of(*kinds: int) -> AddressSpaces:
    """Make a process that has compiled code, and what comes of it: by fork, or also by exec."""
    begun = [(5, 0, 0, 0, GRANDPARENT, 0, 0, EXEC), (10, OLD, OLD + 0x1000, 0, GRANDPARENT, 0, 0, MAP)]
    begun.append((20, 0, 0, 0, PARENT, GRANDPARENT, 0, FORK))
    begun += [(30 + at, 0, 0, 0, CHILD, PARENT, 0, kind) for at, kind in enumerate(kinds)]
    begun.append((50, NEW, NEW + 0x1000, 0, CHILD, 0, 0, MAP))
    spaces = AddressSpaces(read=lambda _: None)
    spaces.take(SideBandRecords(np.array(begun, event_dtype()), (MEMORY,)))
    return spaces


def names(spaces: AddressSpaces, pid: int, *addresses: int) -> list[str]:
    mappings = spaces.at(pid, 100)
    assert mappings is not None
    return CompiledNames(spaces).of(pid, mappings, np.array(addresses, np.uint64))


def test_what_was_compiled_before_a_fork_has_the_name_that_the_parent_gave_it() -> None:
    """Python's children under -X perf begin a list of their own, and still run what their parents have compiled."""
    assert ["c", "p", "p", "g", ""] == names(
        spaces_of(FORK), CHILD, 0x10200, 0x10100, 0x10300, 0x10400, 0x10500
    )


def test_another_program_has_none_of_its_parents_code() -> None:
    assert ["c", "", ""] == names(spaces_of(FORK, EXEC), CHILD, 0x10200, 0x10100, 0x10400)


def test_who_was_forked_before_us_is_known_by_memory_at_the_same_place() -> None:
    """A child of this process that is there when we come, and one that has begun another program."""
    own = Path(f"/tmp/perf-{os.getpid()}.map")
    own.write_text("10100 10 ours\n")
    command = [sys.executable, "-c", "input()"]
    try:
        with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
            for place, expected in ((OLD, ["ours"]), (OLD + 0x1000, [""])):
                mapped = {os.getpid(): OLD, child.pid: place}
                spaces = AddressSpaces(read=lambda pid, mapped=mapped: memory_at(mapped.get(pid)))  # type: ignore[misc]
                assert expected == names(spaces, child.pid, 0x10100)
            child.communicate(b"\n")
    finally:
        own.unlink()


def memory_at(start: int | None) -> list[CodeMapping] | None:
    return None if start is None else [CodeMapping(start, start + 0x1000, 0, MEMORY)]
