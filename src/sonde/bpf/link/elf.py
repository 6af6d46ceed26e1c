"""What an ELF file names: its functions, and its USDT probes; only to say what comes near to one that is not there."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator
from contextlib import suppress

SECTION = struct.Struct("<IIQQQQIIQQ")
NOTE = struct.Struct("<III")
STRTAB, NOTES = 3, 7


def _sections(path: str, kind: int) -> Iterator[bytes]:
    """The contents of a 64-bit file's sections of one kind; nothing where the file is something else."""
    with suppress(OSError, ValueError, struct.error), open(path, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if view[:6] != b"\x7fELF\x02\x01":
            return
        (table,) = struct.unpack_from("<Q", view, 0x28)
        size, count = struct.unpack_from("<HH", view, 0x3A)
        for at in range(count):
            _, found, _, _, offset, length, *_ = SECTION.unpack_from(view, table + at * size)
            if found == kind:
                yield view[offset : offset + length]


def nearest_symbols(path: str, name: str) -> list[str]:
    """Up to three symbols of a file that are spelt like ``name``."""
    import difflib

    names = {text for section in _sections(path, STRTAB) for text in section.split(b"\0")}
    part = name.strip("_")[:4].encode()
    # As for the kernel's: only those of much the same length that share a part are compared.
    likely = [
        each.decode(errors="replace") for each in names if part in each and abs(len(each) - len(name)) <= 8
    ]
    return difflib.get_close_matches(name, likely, 3)


def usdt_probes(path: str) -> list[str]:
    """The USDT probes of a file, each as ``provider:name``, sorted."""
    found = {probe for section in _sections(path, NOTES) for probe in _probes(section)}
    return sorted(found)


def _probes(section: bytes) -> Iterator[str]:
    at = 0
    while at + NOTE.size <= len(section):
        owner_bytes, content_bytes, kind = NOTE.unpack_from(section, at)
        owner = section[at + NOTE.size : at + NOTE.size + owner_bytes]
        start = at + NOTE.size + (owner_bytes + 3 & ~3)
        content = section[start : start + content_bytes]
        at = start + (content_bytes + 3 & ~3)
        if owner != b"stapsdt\0" or kind != 3:
            continue
        # Three addresses, then provider, name and arguments, each ended by a zero byte.
        provider, name, *_ = content[24:].split(b"\0")
        yield f"{provider.decode(errors='replace')}:{name.decode(errors='replace')}"
