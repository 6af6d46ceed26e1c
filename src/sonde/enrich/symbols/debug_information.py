"""Lines and inlined functions, from DWARF: converted once for each build id, and kept across runs."""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import subprocess
import sys
import tempfile
import time
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
PART, PART_S = ".part", 3600.0
"""How a result ends that is not whole yet, and when it never will be: its run was killed."""
WITHOUT = "lines and inlined functions are not shown: pip install sonde[symbols]"
_BUILD_ID = re.compile(r"[0-9a-f]{8,128}")


class Line(NamedTuple):
    """A function as it is linked, and the line that is run in it; ``line`` 0 where that is not known."""

    name: str
    file: str
    line: int


class DebugInformation:
    """One file's, from the cache or still being converted; ``load_address`` is what its own addresses begin with."""

    def __init__(self, found: Conversion | Any, *, load_address: int) -> None:
        self._found = found
        self._load_address = load_address

    def lines(self, address: int) -> list[Line]:
        """Give the functions at an address, each inlined into the next; none where it could not be converted."""
        if isinstance(self._found, Conversion):
            self._found = self._found.result()
        if self._found is None or address < self._load_address:
            return []
        found = self._found.lookup(address - self._load_address)
        return [Line(each.symbol, each.full_path or "", each.line or 0) for each in found]


def is_available() -> bool:
    """Tell whether the library is there that reads DWARF (the extra ``symbols``)."""
    return importlib.util.find_spec("symbolic") is not None


class Conversion:
    """Debug information that a process of its own converts, into a file that is then kept under a name, or not at all."""

    def __init__(self, source: int, folder: Path, name: str) -> None:
        """Begin; the source's descriptor is not needed afterwards. Raises OSError where there is no room for the result."""
        self._folder, self._name = folder, name
        self._target, self._path = _temporary(folder)
        if not self._path.is_relative_to(folder):
            self._name = ""
        try:
            self._process: subprocess.Popen[bytes] | None = _convert(source, self._target)
        except (OSError, ValueError):
            self._process = None
        self._done = False
        self._result: Any = None

    def result(self) -> Any:
        """Wait, for CONVERTING_S at most, and give the symcache; None where there is none."""
        if self._done:
            return self._result
        self._done = True
        try:
            if self._process is not None and _ended_well(self._process):
                self._result = _opened(str(self._path))
                if self._result is not None and self._name:
                    os.replace(self._path, self._folder / self._name)
        finally:
            os.close(self._target)
            self._path.unlink(missing_ok=True)
        return self._result


class SymbolCache:
    """Symcaches on disk: one file for each build id, in a folder that only its owner can read.

    ``folder`` is made at first use. What was not used for longest goes first, when CACHE_BYTES_MAX are reached. As many
    files are converted at a time as there are CPUs.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder if folder is not None else default_folder()
        self._running: list[Conversion] = []

    def of(self, fd: int, *, build_id: str) -> Conversion | Any | None:
        """Give the symcache of an open file with DWARF from the cache, or begin to make it; None where that is not possible.

        It is kept by the build id of what it belongs to, and by who owns the file: whoever has a file of his own cannot
        give names to another's code.
        """
        told, name = os.fstat(fd), ""
        if told.st_size > SOURCE_BYTES_MAX:
            return None
        if _BUILD_ID.fullmatch(build_id):
            name = build_id if told.st_uid == 0 else f"{build_id}-{told.st_uid}"
            if (kept := self._kept(name)) is not None:
                return kept
        return self._begun(fd, name)

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

    def _begun(self, fd: int, name: str) -> Conversion | None:
        while len(self._running) >= (os.cpu_count() or 1):
            self._running.pop(0).result()
        try:
            begun = Conversion(fd, self._folder, name)
        except OSError:
            return None
        self._running.append(begun)
        self._bound()
        return begun

    def _bound(self) -> None:
        """Remove what was not used for longest, and what a run that was killed has left half made."""
        try:
            kept = list(os.scandir(self._folder))
        except OSError:
            # It may not be made: results are used once, elsewhere.
            return
        found = []
        for each in kept:
            try:
                told = each.stat(follow_symlinks=False)
            except OSError:
                continue
            if each.name.endswith(PART) and told.st_mtime < time.time() - PART_S:
                Path(each.path).unlink(missing_ok=True)
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


def _temporary(folder: Path) -> tuple[int, Path]:
    """Make a file for a result: beside those that are kept, or where that may not be, to be used once."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        target, path = tempfile.mkstemp(dir=folder, prefix=".", suffix=PART)
    except OSError:
        target, path = tempfile.mkstemp(prefix="sonde-", suffix=PART)
    return target, Path(path)


def _convert(source: int, target: int) -> subprocess.Popen[bytes]:
    """Have a process of its own make the symcache."""
    program = Path(__file__).with_name("convert.py")
    return subprocess.Popen(
        [sys.executable, "-I", str(program), str(source), str(target)],
        pass_fds=(source, target),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def _ended_well(process: subprocess.Popen[bytes]) -> bool:
    """Wait for a process; it is ended where it takes too long."""
    try:
        return process.wait(CONVERTING_S) == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        process.kill()
        process.wait()
