"""The functions of an ELF file by address, from its tables of symbols: which function, never its inlined parts."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sonde.enrich.symbols.elf import (
    ORDER,
    SHT_DYNSYM,
    SHT_RELA,
    SHT_STRTAB,
    SHT_SYMTAB,
    DamagedFileError,
    ElfFile,
    Section,
    Symbols,
)
from sonde.enrich.symbols.go_functions import go_functions
from sonde.enrich.symbols.thread_roots import thread_roots

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]

STT_NOTYPE, STT_FUNC, STT_GNU_IFUNC = 0, 2, 10
NAME_BYTES_MAX = 4096
"""Longer names are cut: those of C++ templates have been seen with 60,000 bytes."""
UNPACKED_BYTES_MAX = 64 << 20
"""A .gnu_debugdata that becomes larger is not taken."""
UNPACKING_BYTES_MAX = 128 << 20
STEPS_BACK_MAX = 16
"""So many smaller symbols inside a larger one are looked past."""
PLT_ENTRY_BYTES = 16
X86_64 = 62


class FunctionSymbols:
    """Functions by address: sorted arrays, and the texts that names are cut from when they are asked for.

    ``places`` is 20 ns for each of many addresses that are in order, 100 ns where they are not; a library of 35,000
    functions takes 30 ms to read, and 29 bytes for each beside its names. Where a symbol tells how long it is, what lies behind it is in no function.
    """

    def __init__(self, tables: Sequence[Symbols]) -> None:
        """Take tables; of equal starts the first counts."""
        import numpy as np

        self._texts = [each.text for each in tables]
        starts, ends, names = (
            np.concatenate([*(each[number] for each in tables), np.empty(0, dtype)])
            for number, dtype in enumerate((np.uint64, np.uint64, np.uint32))
        )
        sources = np.repeat(np.arange(len(tables), dtype=np.uint8), [len(each.starts) for each in tables])
        order = np.argsort(starts, kind="stable")
        is_first = np.ones(len(order), dtype=bool)
        is_first[1:] = starts[order][1:] != starts[order][:-1]
        order = order[is_first]
        self.starts, self._ends = starts[order], ends[order]
        self._names, self._sources = names[order], sources[order]
        # What ends latest of all that begin up to here: further back nothing reaches beyond that.
        self._reaches = np.maximum.accumulate(self._ends) if len(order) else self._ends

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def size_bytes(self) -> int:
        """Give the memory that it takes."""
        return len(self.starts) * 29 + sum(map(len, self._texts))

    def places(self, addresses: Array) -> Array:
        """Give the number of the function that each address is in, -1 for none."""
        import numpy as np

        found = np.full(len(addresses), -1, np.int64)
        if not len(self.starts):
            return found
        at = np.searchsorted(self.starts, addresses, side="right").astype(np.int64) - 1
        left = np.flatnonzero(at >= 0)
        for _ in range(STEPS_BACK_MAX):
            here = at[left]
            is_in = addresses[left] < self._ends[here]
            found[left[is_in]] = here[is_in]
            left = left[~is_in & (here > 0) & (addresses[left] < self._reaches[here])]
            if not len(left):
                break
            at[left] -= 1
        return found

    def name(self, place: int) -> str:
        """Name what ``places`` found, as it stands in the file."""
        text, at = self._texts[self._sources[place]], int(self._names[place])
        end = text.find(b"\0", at, at + NAME_BYTES_MAX + 1)
        name: bytes = text[at : end if end >= 0 else at + NAME_BYTES_MAX]
        return name.decode(errors="replace")


def read_functions(file: ElfFile, debug: ElfFile | None = None) -> FunctionSymbols:
    """Read the functions of a file: its own symbols, those in ``debug``, those in its .gnu_debugdata, its PLT's, and Go's."""
    tables = []
    for each in (debug, file):
        if each is not None:
            tables += [_table(each, kind) for kind in (SHT_SYMTAB, SHT_DYNSYM)]
    packed = _packed_symbols(file)
    if packed is not None:
        tables.append(_table(packed, SHT_SYMTAB))
    tables.append(_plt(file))
    if not any(_has_symbols(each) for each in (debug, file) if each is not None):
        tables.append(go_functions(file))
    found = [each for each in tables if each is not None]
    roots = thread_roots(file, found)
    return FunctionSymbols([*found, roots] if roots is not None else found)


def _has_symbols(file: ElfFile) -> bool:
    return any(each.type == SHT_SYMTAB for each in file.sections)


def _table(file: ElfFile, kind: int) -> Symbols | None:
    """Read one table of symbols; None where there is none, or a broken one."""
    import numpy as np

    section = next((each for each in file.sections if each.type == kind), None)
    symbols, text = _symbols(file, section) if section is not None else (None, b"")
    if symbols is None or not len(symbols):
        return None
    kinds = symbols["info"] & 0xF
    is_code = np.isin(kinds, (STT_FUNC, STT_GNU_IFUNC)) | ((kinds == STT_NOTYPE) & _in_code(file, symbols))
    symbols = symbols[
        is_code & (symbols["index"] != 0) & (symbols["name"] != 0) & (symbols["name"] < len(text))
    ]
    # 32-bit Arm marks Thumb code in the lowest bit; elsewhere it is part of the address.
    starts = symbols["value"].astype(np.uint64)
    sizes = symbols["size"].astype(np.uint64)
    order = np.lexsort((_rank(symbols, text), starts))
    starts, sizes, names = starts[order], sizes[order], symbols["name"][order].astype(np.uint32)
    with np.errstate(over="ignore"):
        ends = starts + sizes
    ends = np.where(ends < starts, starts, ends)
    unknown = sizes == 0
    ends[unknown] = _next_starts(file, starts)[unknown]
    return Symbols(starts, ends, names, text)


def _symbols(file: ElfFile, section: Section) -> tuple[Array | None, bytes]:
    import numpy as np

    dtype = _dtype(is_64_bit=file.is_64_bit)
    if section.entry_bytes != dtype.itemsize or not 0 < section.link < len(file.sections):
        return None, b""
    strings = file.sections[section.link]
    data = file.contents(section)
    text = file.contents(strings) if strings.type == SHT_STRTAB else b""
    return np.frombuffer(data, dtype, count=len(data) // dtype.itemsize), text


def _dtype(*, is_64_bit: bool) -> np.dtype[Any]:
    import numpy as np

    names = ("name", "info", "other", "index", "value", "size")
    kinds = ("u4", "u1", "u1", "u2", "u8", "u8")
    if not is_64_bit:
        names, kinds = (
            ("name", "value", "size", "info", "other", "index"),
            ("u4", "u4", "u4", "u1", "u1", "u2"),
        )
    return np.dtype([(name, ORDER + kind) for name, kind in zip(names, kinds, strict=True)])


def _in_code(file: ElfFile, symbols: Array) -> Array:
    """Tell which symbols without a type are functions of assembler: global ones in code."""
    import numpy as np

    code = [number for number, each in enumerate(file.sections) if each.name in (".text", ".init", ".fini")]
    found: Array = np.isin(symbols["index"], code) & (symbols["info"] >> 4 != 0)
    return found


def _rank(symbols: Array, text: bytes) -> Array:
    """Order the names of one address, the best first: those with a size, with fewer underscores, global, then weak.

    So glibc's functions have the names that programs call them by: not ``__GI_execve`` but ``execve``.
    """
    import numpy as np

    binding = symbols["info"] >> 4
    data = np.frombuffer(text, np.uint8)
    names = symbols["name"].astype(np.int64)
    underscores = (data[names] == ord("_")).astype(np.uint8)
    underscores += (underscores == 1) & (data[np.minimum(names + 1, len(data) - 1)] == ord("_"))
    # STB_LOCAL is 0, STB_GLOBAL 1, STB_WEAK 2.
    order = np.select([binding == 1, binding == 2], [0, 1], default=2).astype(np.uint8)
    rank: Array = (symbols["size"] == 0) * 16 + underscores * 4 + order
    return rank


def _next_starts(file: ElfFile, starts: Array) -> Array:
    """Give where symbols without a size end: at the next one, or with their section."""
    import numpy as np

    different = np.unique(starts)
    after = np.searchsorted(different, starts, side="right")
    following = np.append(different, np.uint64((1 << 64) - 1))[after]
    ends = starts.copy()
    for each in file.sections:
        if each.address and each.name.startswith((".text", ".init", ".fini", ".plt")):
            end = np.uint64(min(each.address + each.size_bytes, (1 << 64) - 1))
            is_in = (starts >= np.uint64(each.address)) & (starts < end)
            ends[is_in] = end
    bounded: Array = np.minimum(following, ends)
    return bounded


def _packed_symbols(file: ElfFile) -> ElfFile | None:
    """Unpack the small table that Fedora's libraries keep when they are stripped (.gnu_debugdata)."""
    section = file.section(".gnu_debugdata")
    if section is None:
        return None
    try:
        unpacker = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=UNPACKING_BYTES_MAX)
        content = unpacker.decompress(file.contents(section), max_length=UNPACKED_BYTES_MAX)
        return ElfFile.of_bytes(content)
    except (lzma.LZMAError, EOFError, DamagedFileError):
        return None


def _plt(file: ElfFile) -> Symbols | None:
    """Name the stubs through which a program calls into libraries: ``NAME@plt``."""
    import numpy as np

    table = file.section(".rela.plt")
    stubs, first = file.section(".plt.sec"), 0
    if stubs is None:
        stubs, first = file.section(".plt"), 1
    if (
        table is None
        or stubs is None
        or table.type != SHT_RELA
        or file.machine != X86_64
        or not file.is_64_bit
    ):
        return None
    symbols, text = (
        _symbols(file, file.sections[table.link]) if 0 < table.link < len(file.sections) else (None, b"")
    )
    data = file.contents(table)
    relocations = np.frombuffer(data, f"{ORDER}u8", count=len(data) // 24 * 3).reshape(-1, 3)
    count = min(len(relocations), stubs.size_bytes // PLT_ENTRY_BYTES - first)
    if symbols is None or count <= 0:
        return None
    numbers = (relocations[:count, 1] >> np.uint64(32)).astype(np.int64)
    numbered = np.arange(first, first + count, dtype=np.uint64)
    starts = np.uint64(stubs.address) + numbered * np.uint64(PLT_ENTRY_BYTES)
    is_named = (numbers > 0) & (numbers < len(symbols))
    starts, numbers = starts[is_named], numbers[is_named]
    pieces, names, at = [], [], 0
    for offset in symbols["name"][numbers].tolist():
        name = text[offset : max(text.find(b"\0", offset, offset + NAME_BYTES_MAX), offset)] + b"@plt\0"
        pieces.append(name)
        names.append(at)
        at += len(name)
    ends = starts + np.uint64(PLT_ENTRY_BYTES)
    return Symbols(starts, ends, np.array(names, np.uint32), b"".join(pieces))
