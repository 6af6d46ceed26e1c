"""ELF files of programs and libraries: where code lies, what says which file it is, and the sections with names.

Files may be damaged, or made to do harm: whatever is read from one is checked before it is used, a piece that does not
fit is as good as absent, and what can be raised is DamagedFileError. Files are read, never mapped: one that somebody
truncates meanwhile would kill whoever has it mapped.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from sonde.errors import SondeError

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

SECTIONS_MAX = 4096
SEGMENTS_MAX = 512
SECTION_BYTES_MAX = 256 << 20
"""Larger tables of symbols or names are not read: browsers have 60 MB of names."""

PT_LOAD, PT_NOTE = 1, 4
PF_X = 1
SHT_SYMTAB, SHT_STRTAB, SHT_RELA, SHT_NOBITS, SHT_DYNSYM = 2, 3, 4, 8, 11
NT_GNU_BUILD_ID = 3
NOTES_BYTES_MAX = 64 << 10
BUILD_ID_BYTES_MAX = 64

_LITTLE = sys.byteorder == "little"
ORDER = "<" if _LITTLE else ">"
"""This machine's byte order, as struct and NumPy write it."""
NOWHERE = (1 << 64) - 1
"""The address of what is not loaded."""
# The same members in both classes, at other places: header, segment, section.
_FORMATS = {
    1: ("HHIIIIIHHHHHH", "IIIIIIII", "IIIIIIIIII"),
    2: ("HHIQQQIHHHHHH", "IIQQQQQQ", "IIQQQQIIQQ"),
}


class DamagedFileError(SondeError):
    """What was to be read of a file is no ELF file of this byte order, or broken."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of the file that is mapped: ``address`` is where the file wants it."""

    offset: int
    address: int
    size_bytes: int
    is_code: bool


@dataclass(frozen=True, slots=True)
class Section:
    """A section's header; ``link`` is the number of another one that belongs to it."""

    name: str
    type: int
    address: int
    offset: int
    size_bytes: int
    link: int
    entry_bytes: int


class Symbols(NamedTuple):
    """The functions of a table of symbols, as columns: where they begin and end, and where in ``text`` their names begin."""

    starts: Array
    ends: Array
    names: Array
    text: bytes


Read = Callable[[int, int], bytes]
"""Gives up to so many bytes from an offset on: ``read(size_bytes, offset)``, as os.pread."""


class ElfFile:
    """An ELF file of either class, read piece by piece; whoever gives ``read`` closes what it reads from."""

    def __init__(self, read: Read, *, size_bytes: int) -> None:
        """Read the header; raises DamagedFileError."""
        self._read = read
        self.size_bytes = size_bytes
        ident = self.bytes_at(0, 16)
        if len(ident) < 16 or ident[:4] != b"\x7fELF" or ident[4] not in _FORMATS:
            raise DamagedFileError("read symbols", why="it is no ELF file")
        if ident[5] != (1 if _LITTLE else 2):
            raise DamagedFileError("read symbols", why="it was built for the other byte order")
        self.is_64_bit = ident[4] == 2
        header, segment, section = (struct.Struct(ORDER + each) for each in _FORMATS[ident[4]])
        self._segment, self._section = segment, section
        data = self.bytes_at(16, header.size)
        if len(data) < header.size:
            raise DamagedFileError("read symbols", why="it is cut off")
        (
            _,
            self.machine,
            _,
            _,
            self._segments_at,
            self._sections_at,
            *_,
            _,
            self._segment_count,
            self._section_bytes,
            self._section_count,
            self._names_at,
        ) = header.unpack(data)

    @classmethod
    def of_fd(cls, fd: int) -> ElfFile:
        """Read a file by its descriptor, which has to stay open as long as this is used; raises DamagedFileError."""

        def read(size_bytes: int, offset: int) -> bytes:
            try:
                return os.pread(fd, size_bytes, offset)
            except (OSError, OverflowError):
                return b""

        return cls(read, size_bytes=os.fstat(fd).st_size)

    @classmethod
    def of_bytes(cls, content: bytes) -> ElfFile:
        """Read what is in memory; raises DamagedFileError."""
        return cls(lambda size_bytes, offset: content[offset : offset + size_bytes], size_bytes=len(content))

    def bytes_at(self, offset: int, size_bytes: int) -> bytes:
        """Read bytes; fewer where the file ends."""
        if offset < 0 or size_bytes <= 0 or offset >= self.size_bytes:
            return b""
        return self._read(min(size_bytes, self.size_bytes - offset, SECTION_BYTES_MAX), offset)

    # ---- parts ------------------------------------------------------------------------------------------------

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """List what is loaded; the order is the file's."""
        return tuple(self._segments_of(PT_LOAD))

    def _segments_of(self, wanted: int) -> Iterator[Segment]:
        """Give the segments of a type."""
        for words in self._entries(self._segments_at, self._segment, min(self._segment_count, SEGMENTS_MAX)):
            if self.is_64_bit:
                kind, flags, offset, address, _, size, _, _ = words
            else:
                kind, offset, address, _, size, _, flags, _ = words
            if kind == wanted:
                yield Segment(offset, address, size, bool(flags & PF_X))

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """List the sections; none where there is no table of them, or where it is broken."""
        headers = self._entries(self._sections_at, self._section, min(self._section_count, SECTIONS_MAX))
        if not 0 < self._names_at < len(headers):
            return ()
        _, kind, _, _, offset, size, *_ = headers[self._names_at]
        names = self.bytes_at(offset, min(size, 1 << 20)) if kind == SHT_STRTAB else b""
        return tuple(
            Section(_text(names, name), kind, address, offset, size, link, entry)
            for name, kind, _, address, offset, size, link, _, _, entry in headers
        )

    def _entries(self, offset: int, entry: struct.Struct, count: int) -> list[tuple[int, ...]]:
        data = self.bytes_at(offset, entry.size * count)
        return list(entry.iter_unpack(data[: len(data) // entry.size * entry.size]))

    def section(self, name: str) -> Section | None:
        """Find a section by name."""
        return next((each for each in self.sections if each.name == name), None)

    def contents(self, section: Section) -> bytes:
        """Read a section; empty where it is not all in the file, or too large."""
        if section.type == SHT_NOBITS or section.size_bytes > SECTION_BYTES_MAX:
            return b""
        data = self.bytes_at(section.offset, section.size_bytes)
        return data if len(data) == section.size_bytes else b""

    # ---- what it says of itself -------------------------------------------------------------------------------

    @cached_property
    def build_id(self) -> str:
        """Read the build id, in hexadecimal; "" where there is none."""
        sections = (self.section(name) for name in (".note.gnu.build-id", ".notes"))
        places = [(each.offset, each.size_bytes) for each in sections if each is not None]
        places += [(each.offset, each.size_bytes) for each in self._segments_of(PT_NOTE)]
        for offset, size_bytes in places:
            if found := self._build_id_in(offset, size_bytes):
                return found
        return ""

    def _build_id_in(self, offset: int, size_bytes: int) -> str:
        data = self.bytes_at(offset, min(size_bytes, NOTES_BYTES_MAX))
        at = 0
        while at + 12 <= len(data):
            name_bytes, content_bytes, kind = struct.unpack_from(f"{ORDER}III", data, at)
            name_at, content_at = at + 12, at + 12 + (name_bytes + 3 & ~3)
            if kind == NT_GNU_BUILD_ID and data[name_at : name_at + 4] == b"GNU\0":
                return data[content_at : content_at + min(content_bytes, BUILD_ID_BYTES_MAX)].hex()
            at = content_at + (content_bytes + 3 & ~3)
        return ""

    @cached_property
    def debug_link(self) -> tuple[str, int] | None:
        """Read the name and the CRC-32 of the file that debug information was moved to; None where none is named."""
        section = self.section(".gnu_debuglink")
        data = self.contents(section) if section is not None and section.size_bytes <= 4096 else b""
        name, end, _ = data.partition(b"\0")
        at = len(name) + 4 & ~3
        text = os.fsdecode(name)
        if not end or len(data) < at + 4 or "/" in text or text in ("", ".", ".."):
            return None
        return text, int(struct.unpack_from(f"{ORDER}I", data, at)[0])

    @property
    def has_debug_information(self) -> bool:
        """Tell whether lines and inlined functions are in it (DWARF)."""
        sections = {each.name for each in self.sections if each.type != SHT_NOBITS and each.size_bytes}
        return bool(sections & {".debug_info", ".zdebug_info"})

    @property
    def load_address(self) -> int:
        """Give the address of what is loaded first: 0 for what may lie anywhere. Symcaches count from it."""
        return self.segments[0].address if self.segments else 0


def addresses_of(segments: Sequence[Segment], offsets: Array) -> Array:
    """Give, for places in a file, the addresses that symbols have there; NOWHERE where nothing is loaded from."""
    import numpy as np

    found = np.full(len(offsets), NOWHERE, np.uint64)
    # Segments may share a page of the file: code wins, so it comes last.
    for each in sorted(segments, key=lambda segment: segment.is_code):
        delta = np.uint64((each.address - each.offset) & (1 << 64) - 1)
        end = min(each.offset + each.size_bytes, (1 << 64) - 1)
        is_in = (offsets >= np.uint64(each.offset)) & (offsets < np.uint64(end))
        found[is_in] = offsets[is_in] + delta
    return found


def _text(names: bytes, at: int) -> str:
    end = names.find(b"\0", at)
    return names[at:end].decode(errors="replace") if 0 <= at < end else ""
