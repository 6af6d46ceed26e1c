"""Functions of Go programs, from the table that Go's own runtime walks stacks by: stripped programs have it, too.

Go 1.18 and later. The table's layout: https://github.com/golang/go/blob/master/src/internal/abi/symtab.go, runtime/symtab.go.
"""

from __future__ import annotations

import struct

from sonde.enrich.symbols.elf import ORDER, ElfFile, Symbols

SECTIONS = (".gopclntab", ".data.rel.ro.gopclntab")
"""The second is of programs that may lie anywhere (PIE)."""
MAGICS = (0xFFFFFFF0, 0xFFFFFFF1)
"""Of Go 1.18, and of 1.20."""
FUNCTIONS_MAX = 4 << 20


def go_functions(file: ElfFile) -> Symbols | None:
    """Read the table; None where there is none, one of an older Go, or a broken one."""
    import numpy as np

    section = next((each for name in SECTIONS if (each := file.section(name)) is not None), None)
    data = file.contents(section) if section is not None else b""
    if len(data) < 8:
        return None
    magic, word_bytes = struct.unpack_from(f"{ORDER}I", data)[0], data[7]
    header = struct.Struct(f"{ORDER}8{'Q' if word_bytes == 8 else 'I'}")
    if magic not in MAGICS or word_bytes not in (4, 8) or len(data) < 8 + header.size:
        return None
    count, _, text_start, names_at, names_end, _, _, table_at = header.unpack_from(data, 8)
    # Where functions begin, less the beginning of all code, and where in this table is more; the last one is the end of all.
    if not count or count > FUNCTIONS_MAX or table_at + 8 * count + 4 > len(data):
        return None
    table = np.frombuffer(data, f"{ORDER}u4", count=2 * count + 1, offset=table_at).astype(np.uint64)
    text = file.section(".text")
    # Newer ones may leave it to the linker.
    base = np.uint64(text_start or (text.address if text is not None else 0))
    starts, ends = base + table[:-1:2], base + table[2::2]
    name_at = table[1::2] + np.uint64(table_at + 4)
    is_in = (name_at + np.uint64(4) <= np.uint64(len(data))) & (starts < ends)
    starts, ends, name_at = starts[is_in], ends[is_in], name_at[is_in].astype(np.int64)
    octets = np.frombuffer(data, np.uint8)[name_at[:, None] + np.arange(4)]
    names = np.ascontiguousarray(octets).view(f"{ORDER}u4").ravel()
    names_text = data[names_at:names_end]
    is_named = names < len(names_text)
    return Symbols(starts[is_named], ends[is_named], names[is_named].astype(np.uint32), names_text)
