"""The vDSO: code of the kernel's that every process has mapped, and that is in no file. Ours is like all others."""

from __future__ import annotations

import functools
import os

from sonde.enrich.process_maps import code_mappings
from sonde.enrich.symbols.elf import DamagedFileError, ElfFile
from sonde.enrich.symbols.function_symbols import FunctionSymbols, read_functions

VDSO = "[vdso]"
SIZE_BYTES_MAX = 1 << 20


@functools.cache
def vdso() -> tuple[ElfFile, FunctionSymbols] | None:
    """Read this process's vDSO, once; None where it has none (vdso=0)."""
    own = next((each for each in code_mappings(os.getpid()) or () if each.file.path == VDSO), None)
    if own is None or own.end - own.start > SIZE_BYTES_MAX:
        return None
    try:
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(own.start)
            file = ElfFile.of_bytes(memory.read(own.end - own.start))
        return file, read_functions(file)
    except (OSError, DamagedFileError):
        return None
