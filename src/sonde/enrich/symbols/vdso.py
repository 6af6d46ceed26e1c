"""The vDSO: code of the kernel's that every process has mapped, and that is in no file. Ours is like all others."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING, Any

from sonde.enrich.process_maps import code_mappings
from sonde.enrich.symbols.binary import unknown
from sonde.enrich.symbols.elf import DamagedFileError, ElfFile, addresses_of
from sonde.enrich.symbols.function_symbols import FunctionSymbols, read_functions
from sonde.records.frames import NATIVE, Frame

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

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


def in_vdso(offsets: Array) -> list[tuple[Frame, ...]]:
    """Name places in it."""
    own = vdso()
    if own is None:
        return [(unknown(VDSO),)] * len(offsets)
    file, functions = own
    places = functions.places(addresses_of(file.segments, offsets)).tolist()
    return [
        (Frame(functions.name(place), NATIVE, VDSO),) if place >= 0 else (unknown(VDSO),) for place in places
    ]
