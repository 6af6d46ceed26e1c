"""The processes that one has started and that still run, with those that they have started, as /proc tells of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress

from sonde.enrich.process_files import living_pids, parent_of


def descendants(first: int) -> Iterator[int]:
    """Give a process, then those that it has started, each before its own are asked for.

    So whoever has those followed that are given misses none: what one starts later is told of by its fork.
    """
    started_by = _of_threads if _are_told() else _by_parent
    waiting, found = [first], {first}
    while waiting:
        pid = waiting.pop()
        yield pid
        new = started_by(pid) - found
        found |= new
        waiting += new


def _are_told() -> bool:
    """Tell whether the kernel lists children: it may have been built without (CONFIG_PROC_CHILDREN)."""
    return os.path.exists("/proc/thread-self/children")


def _of_threads(pid: int) -> set[int]:
    """Find whom a process has started, by each of its threads; none where it has ended."""
    found = set[int]()
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", encoding="ascii") as file:
                found.update(map(int, file.read().split()))
    return found


def _by_parent(pid: int) -> set[int]:
    """Find them by asking all processes for their parent."""
    return {each for each in living_pids() if parent_of(each) == pid}
