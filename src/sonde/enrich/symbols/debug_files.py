"""Where debug information lies that was moved out of a file: found by build id, or by the name in .gnu_debuglink."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence

from sonde.enrich.symbols.elf import DamagedFileError, ElfFile
from sonde.enrich.symbols.mapped_files import open_regular

DEBUG_FOLDER = "/usr/lib/debug"
CHECKED_BYTES_MAX = 2 << 30
PIECE_BYTES = 1 << 20


def open_debug_file(file: ElfFile, path: str, *, roots: Sequence[str] = ("",)) -> int | None:
    """Open the debug file that belongs to a file, for the caller to close; None where there is none.

    ``path`` is the file's, in one of ``roots``: directories that are roots for some process (``/proc/PID/root``; "" is ours). What
    is taken has the same build id, or the CRC-32 that the file names.
    """
    for candidate, checksum in _candidates(file, path, roots):
        try:
            fd = open_regular(candidate)
        except (OSError, ValueError):
            continue
        if _belongs(fd, file, checksum):
            return fd
        os.close(fd)
    return None


def _candidates(file: ElfFile, path: str, roots: Sequence[str]) -> Iterator[tuple[str, int | None]]:
    build_id, link = file.build_id, file.debug_link
    for root in roots:
        if len(build_id) > 2:
            yield f"{root}{DEBUG_FOLDER}/.build-id/{build_id[:2]}/{build_id[2:]}.debug", None
        if link is not None and path.startswith("/"):
            name, checksum = link
            folder = os.path.dirname(path).rstrip("/")
            for place in (folder, f"{folder}/.debug", f"{DEBUG_FOLDER}{folder}"):
                yield f"{root}{place}/{name}", checksum


def _belongs(fd: int, file: ElfFile, checksum: int | None) -> bool:
    try:
        found = ElfFile.of_fd(fd)
    except DamagedFileError:
        return False
    if file.build_id and found.build_id:
        return file.build_id == found.build_id
    return checksum is not None and _checksum(fd) == checksum


def _checksum(fd: int) -> int | None:
    """Give the CRC-32 of a whole file; None where it is too large."""
    if os.fstat(fd).st_size > CHECKED_BYTES_MAX:
        return None
    value = at = 0
    while piece := os.pread(fd, PIECE_BYTES, at):
        value = zlib.crc32(piece, value)
        at += len(piece)
    return value
