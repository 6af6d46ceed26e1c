"""All mapped files that addresses were looked up in: each is read once, as long as it stays the same."""

from __future__ import annotations

import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable

from sonde.bpf.side_band import MappedPath
from sonde.enrich.symbols.binary import Binary, read_binary
from sonde.enrich.symbols.debug_information import WITHOUT, SymbolCache, is_available
from sonde.enrich.symbols.mapped_files import FileIdentity, MappedFiles, identity_of

LOG = logging.getLogger("sonde.symbols")

BYTES_MAX = 16 << 20
"""What the symbols of all files may take in memory; what was not asked for longest is read again when it is."""
BINARIES_MAX = 512
FILES_MAX = 4096
AGAIN_S = 10.0
"""A file that could not be opened is looked for again, so often at most."""


class Binaries:
    """Gives ``Binary`` objects by mapped file, within BYTES_MAX; their debug information is kept on disk (SymbolCache)."""

    def __init__(self, files: MappedFiles, *, clock_s: Callable[[], float] = time.monotonic) -> None:
        self._files = files
        self._cache = SymbolCache() if is_available() else None
        self._clock_s = clock_s
        self._binaries: OrderedDict[FileIdentity, Binary | None] = OrderedDict()
        self._identities: dict[MappedPath, FileIdentity] = {}
        self._missing: dict[MappedPath, float] = {}
        self.notes: list[str] = []

    def of(
        self, file: MappedPath, *, pids: tuple[int, ...] = (), start: int = 0, end: int = 0
    ) -> Binary | None:
        """Give what is known of a mapped file; None where it cannot be found, or is no ELF file.

        ``pids``, ``start`` and ``end`` say where it is mapped, as MappedFiles.open wants it.
        """
        if self._missing.get(file, float("-inf")) > self._clock_s() - AGAIN_S:
            return self._last(file)
        fd = self._files.open(file, pids=pids, start=start, end=end)
        if fd is None:
            self._remember_missing(file)
            return self._last(file)
        try:
            identity = identity_of(fd)
            if len(self._identities) >= FILES_MAX:
                self._identities.clear()
            self._identities[file] = identity
            if identity not in self._binaries:
                self._binaries[identity] = self._read(fd, file, pids)
                self._bound()
            self._binaries.move_to_end(identity)
            return self._binaries[identity]
        finally:
            os.close(fd)

    def _read(self, fd: int, file: MappedPath, pids: tuple[int, ...]) -> Binary | None:
        roots = ("", *(f"/proc/{pid}/root" for pid in pids))
        found = read_binary(fd, file.path, roots=roots, cache=self._cache)
        if found is not None and found.is_partial and not self.notes:
            self.notes.append(WITHOUT)
            LOG.warning("%s", WITHOUT)
        return found

    def _last(self, file: MappedPath) -> Binary | None:
        """Give what was known when the file could still be opened."""
        identity = self._identities.get(file)
        return self._binaries.get(identity) if identity is not None else None

    def _remember_missing(self, file: MappedPath) -> None:
        if len(self._missing) >= FILES_MAX:
            self._missing.clear()
        self._missing[file] = self._clock_s()

    def _bound(self) -> None:
        """Forget what was not asked for longest, but never the last."""
        total = sum(each.size_bytes for each in self._binaries.values() if each is not None)
        while len(self._binaries) > 1 and (total > BYTES_MAX or len(self._binaries) > BINARIES_MAX):
            _, oldest = self._binaries.popitem(last=False)
            total -= oldest.size_bytes if oldest is not None else 0
