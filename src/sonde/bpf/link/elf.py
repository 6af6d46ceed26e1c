"""ELF files as hooks need them: where one is, where its functions lie, which USDT probes it has."""

from __future__ import annotations

import mmap
import os
import platform
import shutil
import struct
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sonde.errors import AttachError
from sonde.nearest import nearest

SECTION = struct.Struct("<IIQQQQIIQQ")
SYMBOL = struct.Struct("<IBBHQQ")
NOTE = struct.Struct("<III")
SYMTAB, STRTAB, NOTES, DYNSYM = 2, 3, 7, 11
FUNCTION, INDIRECT = 2, 10
LIBRARY_FOLDERS = ("/usr/lib64", "/usr/lib", "/lib64", "/lib", "/usr/local/lib")


@dataclass(frozen=True, slots=True)
class ElfSection:
    """A section's header, as far as it is used, and its content."""

    type: int
    address: int
    offset: int
    link: int
    content: bytes


def whole_path(path: str | os.PathLike[str]) -> str:
    """Find a file that is named without a folder: a program as the shell would, a library as the loader would.

    Raises AttachError where there is no such file.
    """
    name = os.fspath(path)
    if "/" in name:
        found: str | None = name
    elif ".so" in name:
        machine = f"/usr/lib/{platform.machine()}-linux-gnu"
        folders = [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), machine, *LIBRARY_FOLDERS]
        found = next(
            (whole for folder in folders if folder and os.path.exists(whole := f"{folder}/{name}")), None
        )
    else:
        found = shutil.which(name)
    if found is None or not os.path.exists(found):
        raise AttachError(f"attach to {name}", why="there is no such file", hint="give its whole path")
    return found


def _sections(path: str, *kinds: int) -> list[ElfSection]:
    """A 64-bit file's sections; those of other kinds without their content. Empty where the file is something else."""
    found: list[ElfSection] = []
    with suppress(OSError, ValueError, struct.error), open(path, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if view[:6] != b"\x7fELF\x02\x01":
            return []
        (table,) = struct.unpack_from("<Q", view, 0x28)
        size, count = struct.unpack_from("<HH", view, 0x3A)
        for at in range(count):
            _, kind, _, address, offset, length, link, *_ = SECTION.unpack_from(view, table + at * size)
            content = view[offset : offset + length] if kind in kinds else b""
            found.append(ElfSection(kind, address, offset, link, content))
    return found


def function_offsets(path: str, names: Sequence[str]) -> dict[str, int]:
    """Where functions begin in a file, by name; those that it has not are missing.

    Not libbpf's: as of 1.5 it finds no function by name in a file without ``.symtab``, as stripped libraries are.
    """
    sections = _sections(path, SYMTAB, DYNSYM, STRTAB)
    found: dict[str, int] = {}
    for table in (each for each in sections if each.type in (DYNSYM, SYMTAB)):
        strings = sections[table.link].content
        wanted = {at: name for name in names for at in _occurrences(strings, name)}
        for at, info, _, index, value, _ in SYMBOL.iter_unpack(table.content):
            # Undefined symbols, and those of no section, lie elsewhere.
            if at in wanted and info & 0xF in (FUNCTION, INDIRECT) and 0 < index < len(sections):
                section = sections[index]
                found.setdefault(wanted[at], value - section.address + section.offset)
    return found


def _occurrences(strings: bytes, name: str) -> Iterator[int]:
    """Where a name ends a string: linkers let names share their tails."""
    text = name.encode() + b"\0"
    at = strings.find(text)
    while at >= 0:
        yield at
        at = strings.find(text, at + 1)


def nearest_symbols(path: str, name: str) -> list[str]:
    """Up to three symbols of a file that are spelt like ``name``."""
    tables = (section.content for section in _sections(path, STRTAB))
    names = {text for content in tables for text in content.split(b"\0")}
    part = name.strip("_")[:4].encode()
    # As for the kernel's: only those of much the same length that share a part are compared.
    likely = [
        each.decode(errors="replace") for each in names if part in each and abs(len(each) - len(name)) <= 8
    ]
    return nearest(name, likely)


def usdt_probes(path: str) -> list[str]:
    """The USDT probes of a file, each as ``provider:name``, sorted."""
    found = {probe for section in _sections(path, NOTES) for probe in _probes(section.content)}
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
