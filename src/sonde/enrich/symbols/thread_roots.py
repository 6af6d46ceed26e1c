"""Where threads begin: the functions that end a stack, and how they are found in a C library without their names."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sonde.enrich.symbols.elf import ORDER, ElfFile, Symbols

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

_BEGINS = re.compile(
    # glibc, and musl; Go, whose goroutines begin by themselves.
    r"(?:_start|__libc_start_main|__libc_start_main_impl|__libc_start_call_main|generic_start_main|start_thread"
    r"|_start_c|libc_start_main_stage2|runtime\.(?:goexit|rt0_go)(?:\.abi0)?|_rt0_\w+)(?:[.@].*)?"
)
_ENDS = re.compile(
    # Others may call these, too: only where nothing is behind them they are the end.
    r"(?:__clone|clone|__clone3|clone3|__clone_internal|_dl_start|_dl_start_user"
    r"|runtime\.(?:mstart|mcall|morestack|asmcgocall|systemstack)(?:\.abi0)?)(?:[.@].*)?"
)

BEFORE = {b"pthread_create": b"start_thread", b"__libc_start_main": b"__libc_start_call_main"}
"""Functions that everybody may call, and the one that the compiler puts before each, which is static."""
TABLE_BYTES_MAX = 16 << 20


def is_thread_root(name: str) -> bool:
    """Tell whether a stack whose outermost function is that one has all its frames."""
    return is_thread_begin(name) or _ENDS.fullmatch(name) is not None


def is_thread_begin(name: str) -> bool:
    """Tell whether nothing but another such function calls it: what stands behind it is no frame."""
    return _BEGINS.fullmatch(name) is not None


def thread_roots(file: ElfFile, tables: Sequence[Symbols]) -> Symbols | None:
    """Name the functions of a stripped glibc in which threads begin, else unknown.

    Where functions begin is in the table for unwinding (.eh_frame_hdr), which is never stripped.
    """
    import numpy as np

    found: list[tuple[int, int, bytes]] = []
    for public, static in BEFORE.items():
        start = _start_of(public, tables)
        if start is None or _start_of(static, tables) is not None:
            continue
        begins = _function_starts(file)
        at = int(np.searchsorted(begins, np.uint64(start)))
        if not 0 < at < len(begins) or int(begins[at]) != start:
            return None
        before = int(begins[at - 1])
        if not any(
            ((each.starts >= np.uint64(before)) & (each.starts < np.uint64(start))).any() for each in tables
        ):
            found.append((before, start, static))
    if not found:
        return None
    text = b"\0".join(name for _, _, name in found) + b"\0"
    starts = np.array([start for start, _, _ in found], np.uint64)
    ends = np.array([end for _, end, _ in found], np.uint64)
    names = np.array([text.index(name) for _, _, name in found], np.uint32)
    return Symbols(starts, ends, names, text)


def _start_of(name: bytes, tables: Sequence[Symbols]) -> int | None:
    """Find a function by name."""
    for each in tables:
        at = each.text.find(b"\0" + name + b"\0")
        if at >= 0 and len(places := (each.names == at + 1).nonzero()[0]):
            return int(each.starts[places[0]])
    return None


def _function_starts(file: ElfFile) -> Array:
    """Read where functions begin from the search table of .eh_frame_hdr, in order; none where it has another form."""
    import numpy as np

    section = file.section(".eh_frame_hdr")
    data = file.contents(section) if section is not None and section.size_bytes < TABLE_BYTES_MAX else b""
    # Version 1; pointers of 4 bytes from here, a count of 4 bytes, and a table of 4 bytes from the section's beginning.
    if section is None or len(data) < 12 or data[0] != 1 or data[2:4] != b"\x03\x3b":
        return np.empty(0, np.uint64)
    count = min(struct.unpack_from(f"{ORDER}I", data, 8)[0], (len(data) - 12) // 8)
    starts = np.frombuffer(data, f"{ORDER}i4", count=count * 2, offset=12)[::2].astype(np.int64)
    return np.sort((starts + np.int64(section.address)).astype(np.uint64))
