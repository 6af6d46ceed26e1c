"""Lines and inlined functions, from DWARF: converted once for each build id, and kept across runs."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

LOG = logging.getLogger("sonde.symbols")

FORMAT = "1"
"""The folder's name in the cache: what is kept by another version of sonde may mean something else."""
CACHE_BYTES_MAX = 1 << 30
SOURCE_BYTES_MAX = 1 << 30
"""Larger files are not converted: that takes ten seconds and more for each GB."""
CONVERTING_S = 30.0
"""Whoever waits for names waits no longer than that for one file."""
WITHOUT = "lines and inlined functions are not shown: pip install sonde[symbols]"
_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")


class Line(NamedTuple):
    """A function as it is linked, and the line that is run in it; ``line`` 0 where that is not known."""

    name: str
    file: str
    line: int


@dataclass(frozen=True, slots=True)
class DebugInformation:
    """One file's; ``load_address`` is what its own addresses begin with."""

    symcache: Any
    load_address: int

    def lines(self, address: int) -> list[Line]:
        """Give the functions at an address, each inlined into the next."""
        if address < self.load_address:
            return []
        found = self.symcache.lookup(address - self.load_address)
        return [Line(each.symbol, each.full_path or "", each.line or 0) for each in found]


def is_available() -> bool:
    """Tell whether the library is there that reads DWARF (the extra ``symbols``)."""
    return importlib.util.find_spec("symbolic") is not None


class SymbolCache:
    """Symcaches on disk: one file for each build id, in a folder that only its owner can read.

    ``folder`` is made at first use. What was not used for longest goes first, when CACHE_BYTES_MAX are reached.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder if folder is not None else default_folder()

    def of(self, fd: int, *, build_id: str) -> Any | None:
        """Give the symcache of an open file with DWARF, from the cache or made now; None where that fails.

        It is kept by the build id of what it belongs to, and by who owns the file: whoever has a file of his own cannot
        give names to another's code.
        """
        name = ""
        if os.fstat(fd).st_size > SOURCE_BYTES_MAX:
            return None
        if _BUILD_ID.fullmatch(build_id):
            owner = os.fstat(fd).st_uid
            name = build_id if owner == 0 else f"{build_id}-{owner}"
            if (kept := self._kept(name)) is not None:
                return kept
        return self._made(fd, name)

    def _kept(self, name: str) -> Any | None:
        path = self._folder / name
        try:
            # So that those in use are not the oldest.
            os.utime(path)
        except OSError:
            return None
        found = _opened(str(path))
        if found is None:
            path.unlink(missing_ok=True)
        return found

    def _made(self, fd: int, name: str) -> Any | None:
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            target, temporary = tempfile.mkstemp(dir=self._folder, prefix=".", suffix=".part")
        except OSError:
            # A cache that cannot be written to: the result is used once.
            target, temporary = tempfile.mkstemp(prefix="sonde-", suffix=".part")
            name = ""
        try:
            if not _convert(fd, target):
                return None
            found = _opened(temporary)
            if found is not None and name:
                os.replace(temporary, self._folder / name)
                self._bound()
            return found
        finally:
            os.close(target)
            Path(temporary).unlink(missing_ok=True)

    def _bound(self) -> None:
        """Remove what was not used for longest, and what a run that was killed has left half made."""
        found = []
        for each in os.scandir(self._folder):
            try:
                told = each.stat(follow_symlinks=False)
            except OSError:
                continue
            found.append((told.st_mtime_ns, told.st_size, each.path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= CACHE_BYTES_MAX:
                return
            Path(path).unlink(missing_ok=True)
            total -= size


def default_folder() -> Path:
    """Give the folder of this user's cache."""
    cache = os.environ.get("XDG_CACHE_HOME") or ""
    base = Path(cache) if cache.startswith("/") else Path(os.path.expanduser("~")) / ".cache"
    return base / "sonde" / "symbols" / FORMAT


def _opened(path: str) -> Any | None:
    """Open a symcache; None where it is broken, or of another version of the library."""
    from symbolic.exceptions import SymbolicError
    from symbolic.symcache import SymCache

    try:
        found: Any = SymCache.open(path)  # type: ignore[no-untyped-call]
        return found if found.is_latest_version else None
    except (SymbolicError, OSError):
        return None


def _convert(source: int, target: int) -> bool:
    """Have a process of its own make the symcache."""
    program = Path(__file__).with_name("convert.py")
    command = [sys.executable, "-I", str(program), str(source), str(target)]
    try:
        done = subprocess.run(
            command,
            pass_fds=(source, target),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=CONVERTING_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError, ValueError):
        return False
    return done.returncode == 0
