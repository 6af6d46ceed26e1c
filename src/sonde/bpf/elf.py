"""A strict look at an ELF object before libbpf sees it.

libbpf reads objects that a compiler wrote; of broken ones it follows some over the edge: a type that contains itself
(no end), a size beyond 2 GiB (taken for an error code, and the error code for a pointer), names that are no text. What
passes here is a relocatable BPF object of this machine's byte order, whose sections, symbols, relocations and types
lie inside the file and refer to things that exist.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

from sonde.errors import UnsafeObjectError

_HEADER = struct.Struct("=16sHHIQQQIHHHHHH")
_SECTION = struct.Struct("=IIQQQQIIQQ")
_SYMBOL = struct.Struct("=IBBHQQ")
_RELOCATION = struct.Struct("=QII")  # r_offset; r_info as type and symbol
INSTRUCTION_BYTES = 8

_ET_REL, _EM_BPF = 1, 247
_PROGBITS, _SYMTAB, _STRTAB, _RELA, _NOBITS, _REL = 1, 2, 3, 4, 8, 9
_EXECINSTR = 4
_FUNCTION, _SECTION_SYMBOL = 2, 3
_SHN_LORESERVE, _SHN_XINDEX = 0xFF00, 0xFFFF


@dataclass(frozen=True)
class Section:
    """A section header, its name read."""

    name: str
    type: int
    flags: int
    offset: int
    size_bytes: int
    link: int
    info: int
    entry_bytes: int

    @property
    def executable(self) -> bool:
        """Whether it holds instructions."""
        return self.type == _PROGBITS and bool(self.flags & _EXECINSTR)


def check(data: bytes, *, path: str) -> None:
    """Raise UnsafeObjectError (cause ``format``) or LayoutError unless these bytes are a sound BPF object.

    ``path`` is what the message calls it.
    """
    _Check(data, path).run()


class _Check:
    """One object under examination; every refusal names the section that it is about."""

    def __init__(self, data: bytes, path: str) -> None:
        self.data = data
        self.path = path

    def run(self) -> None:
        sections = self._sections()
        for section in sections:
            if section.executable and section.size_bytes % INSTRUCTION_BYTES:
                self._refuse(f"section {section.name} ends within an instruction")
        for index, section in enumerate(sections):
            if section.type == _SYMTAB:
                self._symbols(section, sections)
            elif section.type == _REL:
                self._relocations(section, sections)
            elif section.type == _RELA and sections[self._index(section.info, sections, section)].executable:
                self._refuse(f"section {section.name} has relocations of a kind that BPF does not use")
            self._unique(index, section, sections)
        for section in sections:
            if section.name == ".BTF" and section.type == _PROGBITS:
                from sonde.bpf.btf.soundness import check_types

                check_types(self._contents(section))

    def _sections(self) -> list[Section]:
        table, count, names = self._header()
        headers = list(_SECTION.iter_unpack(self.data[table : table + count * _SECTION.size]))
        if not 0 < names < count:
            self._refuse("its section of section names does not exist")
        _, kind, _, _, offset, size, *_ = headers[names]
        strings = self.data[offset : offset + size]
        if kind != _STRTAB or len(strings) != size or not strings or strings[-1]:
            self._refuse("its section names are not text")
        sections = []
        for index, (name, kind, flags, _, offset, size, link, info, align, entry) in enumerate(headers):
            section = Section(
                self._text(strings, name, f"section {index}"), kind, flags, offset, size, link, info, entry
            )
            if kind not in (0, _NOBITS) and offset + size > len(self.data):
                self._refuse(f"section {section.name} ends beyond the file")
            if kind == _NOBITS and size > 1 << 31:
                self._refuse(f"section {section.name} asks for {size:,} bytes")
            if align & (align - 1) or (kind not in (0, _NOBITS) and align and offset % align):
                self._refuse(f"section {section.name} is not aligned")
            if kind == _STRTAB and size and (self.data[offset] or self.data[offset + size - 1]):
                self._refuse(f"section {section.name} does not begin and end with NUL")
            sections.append(section)
        return sections

    def _header(self) -> tuple[int, int, int]:
        """Check the ELF header; where the section headers are, how many, and which has the names."""
        if len(self.data) < _HEADER.size or self.data[:4] != b"\x7fELF":
            self._refuse("it is no ELF file", "compile it: clang -target bpf -g -O2 -c …")
        ident, kind, machine, version, _, _, table, _, size, _, _, entry, count, names = _HEADER.unpack_from(
            self.data
        )
        order = 1 if sys.byteorder == "little" else 2
        if ident[5] in (1, 2) and ident[5] != order:
            target = "bpfel" if order == 1 else "bpfeb"
            self._refuse("it was built for the other byte order", f"compile it with -target {target}")
        if ident[4] != 2 or ident[5] != order or ident[6] != 1 or version != 1:
            self._refuse("it is no 64-bit ELF file", "compile it: clang -target bpf -g -O2 -c …")
        if kind != _ET_REL or machine != _EM_BPF:
            self._refuse(
                "it is no BPF object but a program or library", "compile it: clang -target bpf -g -O2 -c …"
            )
        if size != _HEADER.size or entry != _SECTION.size or count == 0:
            self._refuse("its headers have an impossible size")
        if table % 8 or table + count * _SECTION.size > len(self.data):
            self._refuse("its section headers lie beyond the file: it is cut off")
        return table, count, names

    def _symbols(self, section: Section, sections: Sequence[Section]) -> None:
        if section.entry_bytes != _SYMBOL.size or section.size_bytes % _SYMBOL.size:
            self._refuse(f"section {section.name} has entries of an impossible size")
        strings = self._strings(section, sections)
        for number, (name, info, _, index, value, size) in enumerate(
            _SYMBOL.iter_unpack(self._contents(section))
        ):
            text = self._text(strings, name, f"symbol {number}")
            if index == 0 or _SHN_LORESERVE <= index < _SHN_XINDEX:
                continue
            holder = sections[self._index(index, sections, section)]
            if info & 0xF == _SECTION_SYMBOL:
                continue
            if value + size > holder.size_bytes:
                self._refuse(f"symbol {text or number} ends beyond its section {holder.name}")
            is_code = info & 0xF == _FUNCTION and holder.executable
            if is_code and (value % INSTRUCTION_BYTES or size % INSTRUCTION_BYTES or size == 0):
                self._refuse(f"function {text or number} does not begin and end with an instruction")

    def _relocations(self, section: Section, sections: Sequence[Section]) -> None:
        if section.entry_bytes != _RELOCATION.size or section.size_bytes % _RELOCATION.size:
            self._refuse(f"section {section.name} has entries of an impossible size")
        target = sections[self._index(section.info, sections, section)]
        table = sections[self._index(section.link, sections, section)]
        if table.type != _SYMTAB:
            self._refuse(f"section {section.name} does not refer to symbols")
        symbols = table.size_bytes // _SYMBOL.size
        step = INSTRUCTION_BYTES if target.executable else 1
        for offset, _, symbol in _RELOCATION.iter_unpack(self._contents(section)):
            if symbol >= symbols or offset >= target.size_bytes or offset % step:
                self._refuse(f"section {section.name} refers to a place or symbol that does not exist")

    def _unique(self, index: int, section: Section, sections: Sequence[Section]) -> None:
        if section.type == _SYMTAB or section.name in (".BTF", ".BTF.ext", ".maps", "license"):
            for other in sections[:index]:
                if other.type == section.type == _SYMTAB or other.name == section.name:
                    self._refuse(f"it has two sections {section.name}")

    def _strings(self, section: Section, sections: Sequence[Section]) -> bytes:
        holder = sections[self._index(section.link, sections, section)]
        if holder.type != _STRTAB:
            self._refuse(f"section {section.name} has no names")
        return self._contents(holder)

    def _index(self, index: int, sections: Sequence[Section], section: Section) -> int:
        if index >= len(sections):
            self._refuse(f"section {section.name} refers to a section that does not exist")
        return index

    def _contents(self, section: Section) -> bytes:
        return self.data[section.offset : section.offset + section.size_bytes]

    def _text(self, strings: bytes, offset: int, what: str) -> str:
        end = strings.find(b"\0", offset)
        if end < 0:
            self._refuse(f"the name of {what} lies beyond the names")
        try:
            return strings[offset:end].decode()
        except UnicodeDecodeError:
            self._refuse(f"the name of {what} is not text")

    def _refuse(
        self, why: str, hint: str = "build it anew, or copy it again: the file is damaged"
    ) -> NoReturn:
        raise UnsafeObjectError(self.path, cause="format", why=why, hint=hint, size_bytes=len(self.data))
