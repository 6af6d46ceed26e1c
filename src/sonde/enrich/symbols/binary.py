"""One program or library: places in its file → frames, with what of its names, lines and inlined functions is known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from sonde.enrich.symbols.debug_files import open_debug_file
from sonde.enrich.symbols.debug_information import DebugInformation, SymbolCache
from sonde.enrich.symbols.demangle import demangled
from sonde.enrich.symbols.elf import NOWHERE, DamagedFileError, ElfFile, addresses_of
from sonde.enrich.symbols.function_symbols import FunctionSymbols, read_functions
from sonde.records.frames import INLINED, NATIVE, UNKNOWN, Frame

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]


class Binary:
    """What is known of one file: its segments, its functions, and its debug information.

    Made from an open file, which is not needed afterwards. ``is_partial`` says that there are lines, which nobody can read.
    """

    def __init__(
        self, fd: int, path: str, *, roots: Sequence[str] = ("",), cache: SymbolCache | None = None
    ) -> None:
        """Read a file, and the debug file that belongs to it; raises DamagedFileError. Without ``cache`` functions alone."""
        self.path = path
        file = ElfFile.of_fd(fd)
        self._segments = file.segments
        self.is_partial = False
        self._debug: DebugInformation | None = None
        debug_fd = None if file.has_debug_information else open_debug_file(file, path, roots=roots)
        try:
            debug = ElfFile.of_fd(debug_fd) if debug_fd is not None else None
            self.functions: FunctionSymbols = read_functions(file, debug)
            with_lines, whose = (file, fd) if file.has_debug_information else (debug, debug_fd)
            if with_lines is not None and whose is not None and with_lines.has_debug_information:
                self.is_partial = cache is None
                found = cache.of(whose, build_id=file.build_id) if cache is not None else None
                if found is not None:
                    self._debug = DebugInformation(found, load_address=with_lines.load_address)
        finally:
            if debug_fd is not None:
                os.close(debug_fd)

    @property
    def size_bytes(self) -> int:
        """Give the memory that it takes."""
        return self.functions.size_bytes

    def frames(self, offsets: Array) -> list[tuple[Frame, ...]]:
        """Name places in the file: the function first, then those that were inlined into it, innermost last."""
        addresses = addresses_of(self._segments, offsets)
        places = self.functions.places(addresses).tolist()
        return [
            self._frames(address, place) for address, place in zip(addresses.tolist(), places, strict=True)
        ]

    def _frames(self, address: int, place: int) -> tuple[Frame, ...]:
        lines = self._debug.lines(address) if self._debug is not None and address != NOWHERE else []
        # A symcache knows not where functions without lines end; the table of symbols does.
        if lines and (place >= 0 or lines[0].line):
            outermost, *inlined = reversed(lines)
            # Of functions in several parts symcaches have been seen to tell another's name.
            name = self.functions.name(place) if place >= 0 else outermost.name
            # Where dwz moved names to a file of its own (distributions do) the library has none: what was inlined is its caller's.
            named = [each for each in inlined if each.name]
            return (
                Frame(demangled(name), NATIVE, self.path, outermost.file, outermost.line),
                *(Frame(demangled(each.name), INLINED, self.path, each.file, each.line) for each in named),
            )
        if place >= 0:
            return (Frame(demangled(self.functions.name(place)), NATIVE, self.path),)
        return (unknown(self.path),)


def unknown(path: str) -> Frame:
    """Make the frame of an address without a name: where it is, is known."""
    return Frame(f"[{os.path.basename(path.strip('[]')) or 'unknown'}]", UNKNOWN, path)


def read_binary(
    fd: int, path: str, *, roots: Sequence[str] = ("",), cache: SymbolCache | None = None
) -> Binary | None:
    """Read a file; None where it is no ELF file, or too broken."""
    try:
        return Binary(fd, path, roots=roots, cache=cache)
    except DamagedFileError:
        return None
