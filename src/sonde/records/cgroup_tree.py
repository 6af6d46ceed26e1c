"""The cgroups that there are: id and path, from the directories of the cgroup file systems."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

VERSION_2 = 0
"""The number of version 2's hierarchy; those of version 1 count from 1."""

ROOT_ID = 1
"""The id of a hierarchy's root."""

CGROUPS_MAX = 65_536
"""A walk ends after so many."""


def hierarchies() -> Mapping[int, str]:
    """Give the mount point of version 2's hierarchy and of the one with the memory controller, by number.

    Those are the two that the programs look at (cgroup.bpf.h); either may be missing.
    """
    number = _number_of("memory")
    found: dict[int, str] = {}
    for kind, options, place in _mounts():
        if kind == "cgroup2":
            found.setdefault(VERSION_2, place)
        elif kind == "cgroup" and number and "memory" in options:
            found.setdefault(number, place)
    return found


def _number_of(controller: str) -> int:
    """Number the hierarchy of version 1 that has a controller; 0 where there is none."""
    try:
        with open("/proc/self/cgroup") as file:
            for line in file:
                number, controllers, _ = line.split(":", 2)
                if controller in controllers.split(","):
                    return int(number)
    except OSError:
        pass
    return 0


def _mounts() -> Iterator[tuple[str, list[str], str]]:
    """Give type, options and mount point of what is mounted; later mounts hide earlier ones and come first."""
    with open("/proc/self/mountinfo", errors="surrogateescape") as file:
        lines = file.readlines()
    for line in reversed(lines):
        before, _, after = line.rstrip("\n").partition(" - ")
        kind, _, options = after.split(" ", 2)
        yield kind, options.split(","), _unescaped(before.split(" ")[4])


def _unescaped(text: str) -> str:
    """Undo the octal escapes of blanks and backslashes."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def walk(root: str) -> Iterator[tuple[int, str]]:
    """Give id and path of every cgroup below a mount point; a path begins with a slash, the root's is one.

    A directory's number is the cgroup's id (Linux 5.5, 64-bit). What vanishes meanwhile is left out.
    """
    try:
        waiting = [(os.stat(root).st_ino, "/")]
    except OSError:
        return
    given = 0
    while waiting and given < CGROUPS_MAX:
        number, path = waiting.pop()
        yield number, path
        given += 1
        inside = path if path == "/" else f"{path}/"
        try:
            with os.scandir(root + inside) as entries:
                waiting += [
                    (entry.inode(), inside + entry.name)
                    for entry in entries
                    if entry.is_dir(follow_symlinks=False)
                ]
        except OSError:
            continue


def living_cgroups(rows: Array) -> Array:
    """Tell which of the cgroups, by id and hierarchy, are there; all where we cannot see the whole hierarchy."""
    import numpy as np

    living = np.ones(len(rows), dtype=bool)
    for hierarchy, root in hierarchies().items():
        there = {number for number, _ in walk(root)}
        # A container is shown its own part of the hierarchy, as if that were all.
        if ROOT_ID not in there or len(there) >= CGROUPS_MAX:
            continue
        inside = rows["hierarchy"] == hierarchy
        living[inside] = np.isin(rows["cgroup_id"][inside], np.fromiter(there, np.uint64))
    return living
