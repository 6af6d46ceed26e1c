"""What code processes have mapped, from /proc/PID/maps: of those that were there before anybody recorded it."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import NamedTuple

from sonde.bpf.side_band import MappedPath, mapped_path

_EXECUTABLE = re.compile(
    rb"^([0-9a-f]+)-([0-9a-f]+) ..x. ([0-9a-f]+) ([0-9a-f]+):([0-9a-f]+) ([0-9]+) *(.*)$", re.MULTILINE
)
MAPS_BYTES_MAX = 16 << 20
"""More of a process's list is not read: 100,000 mappings."""


class CodeMapping(NamedTuple):
    """Code in memory, from ``start`` up to ``end``: what stands in a file from ``file_offset`` on, or in none."""

    start: int
    end: int
    file_offset: int
    file: MappedPath


def code_mappings(pid: int) -> list[CodeMapping] | None:
    """Read which code a process has mapped; None where there is no such process, or we may not see it."""
    try:
        # The first thread may have ended, and has no memory then; the others go on. Threads of the kernel have none, either.
        return parse_maps(_list_of(f"{pid}") or _list_of_another_thread(pid))
    except OSError:
        return None


def _list_of(task: str) -> bytes:
    with open(f"/proc/{task}/maps", "rb") as file:
        return file.read(MAPS_BYTES_MAX)


def _list_of_another_thread(pid: int) -> bytes:
    for tid in os.listdir(f"/proc/{pid}/task"):
        # It may end meanwhile, too.
        with suppress(OSError):
            if tid != str(pid) and (text := _list_of(f"{pid}/task/{tid}")):
                return text
    return b""


def parse_maps(text: bytes) -> list[CodeMapping]:
    """Take the mappings of code from a text as /proc/PID/maps has it."""
    found = []
    for start, end, offset, major, minor, inode, path in _EXECUTABLE.findall(text):
        name = os.fsdecode(path.replace(rb"\012", b"\n"))
        device = os.makedev(int(major, 16), int(minor, 16))
        file = mapped_path(name, device, int(inode))
        # Perf gives memory without a file the offset of its address, /proc gives 0.
        where = int(offset, 16) if file.path else int(start, 16)
        found.append(CodeMapping(int(start, 16), int(end, 16), where, file))
    return found
