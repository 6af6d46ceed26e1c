"""Code that was compiled while a program runs: its names, from the files /tmp/perf-PID.map of Java, Node and Python."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sonde.enrich.intervals import interval_of
from sonde.enrich.process_files import namespace_pid
from sonde.enrich.symbols.mapped_files import FileIdentity, identity_of, open_regular

if TYPE_CHECKING:
    import numpy.typing as npt

    Array = npt.NDArray[Any]

FILE_BYTES_MAX = 64 << 20
"""Of a larger map the end is read: what was compiled last."""
LINE_BYTES_MAX = 4096
RESTS = 10
"""Code comes while we read: for an unknown address the file is read on, after so many times the time that reading took."""
PIECES_MAX = 16
"""So often it is read on; then it is read anew, as a whole."""
DIGITS_MAX = 16
_PYTHON = re.compile(r"py::(.*?):(/.*|<[^>]*>.*)?", re.DOTALL)


class MapText:
    """Lines ``START SIZE NAME`` of a piece of a map, in hexadecimal; lines that are no such are passed over."""

    def __init__(self, text: bytes) -> None:
        import numpy as np

        self._text = text
        data = np.frombuffer(text, np.uint8)
        ends = np.flatnonzero(data == ord("\n"))
        begins = np.concatenate([[0], ends[:-1] + 1]).astype(np.int64) if len(ends) else ends
        blanks = np.append(np.flatnonzero(data == ord(" ")), [len(data)] * 2)
        first = np.searchsorted(blanks, begins)
        size_at, name_at = blanks[first] + 1, blanks[first + 1] + 1 if len(first) else first
        is_line = (name_at < ends) & (ends - begins < LINE_BYTES_MAX)
        begins, ends, size_at, name_at = (each[is_line] for each in (begins, ends, size_at, name_at))
        starts, is_start = _hexadecimal(data, begins, size_at - 1)
        sizes, is_size = _hexadecimal(data, size_at, name_at - 1)
        with np.errstate(over="ignore"):
            is_sound = is_start & is_size & (sizes > 0) & (starts + sizes > starts)
        # Of equal starts the last line counts: code that was compiled in another's place.
        order = np.flatnonzero(is_sound)
        order = order[np.argsort(starts[order], kind="stable")]
        is_last = np.append(starts[order][1:] != starts[order][:-1], len(order) > 0)[: len(order)]
        order = order[is_last]
        self._starts, self._ends = starts[order], starts[order] + sizes[order]
        self._names, self._name_ends = name_at[order], ends[order]

    def __len__(self) -> int:
        return len(self._starts)

    def places(self, addresses: Array) -> Array:
        """Give the number of the entry that each address is in, -1 for none."""
        return interval_of(addresses, self._starts, self._ends)

    def name(self, place: int) -> str:
        """Name what ``places`` found."""
        return (
            self._text[int(self._names[place]) : int(self._name_ends[place])].decode(errors="replace").strip()
        )


def _hexadecimal(data: Array, begins: Array, ends: Array) -> tuple[Array, Array]:
    """Read numbers between two places each, and tell which are numbers; ``0x`` may stand before them."""
    import numpy as np

    padded = np.append(data, np.zeros(2, np.uint8))
    has_prefix = (padded[begins] == ord("0")) & ((padded[begins + 1] | 0x20) == ord("x"))
    begins = begins + 2 * has_prefix
    lengths = ends - begins
    values, is_number = np.zeros(len(begins), np.uint64), (lengths > 0) & (lengths <= DIGITS_MAX)
    for digit in range(DIGITS_MAX):
        has = is_number & (digit < lengths)
        letters = padded[np.where(has, begins + digit, 0)]
        lower = letters | 0x20
        is_decimal = (letters >= ord("0")) & (letters <= ord("9"))
        is_letter = (lower >= ord("a")) & (lower <= ord("f"))
        value = np.where(is_decimal, letters - ord("0"), lower - ord("a") + 10).astype(np.uint64)
        is_number &= ~has | is_decimal | is_letter
        values = np.where(has, (values << np.uint64(4)) | value, values)
    return values, is_number


class PerfMap:
    """The map of one process, read on when an address is in no entry.

    Whoever may write the file can name code as he likes: so it has to be the process's owner, root, or ourselves.
    """

    def __init__(
        self,
        paths: tuple[str, ...],
        *,
        owner: int | None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Know where it may lie; ``owner`` is the process's user, None where that is not known any more."""
        self._paths = paths
        self._owners = {0, os.geteuid()} | ({owner} if owner is not None else set())
        self._clock_s = clock_s
        self._pieces: list[MapText] = []
        self._read_again_at = float("-inf")
        self._identity: FileIdentity | None = None
        self._read_bytes = 0

    def names(self, addresses: Array) -> list[str]:
        """Name addresses; "" where one is in no entry."""
        found = self._found(addresses)
        began = self._clock_s()
        if "" in found and began >= self._read_again_at:
            has_more = self._read_on()
            ended = self._clock_s()
            # By what it costs: a program that ends writes its map, or the rest of it, just before the last reading.
            self._read_again_at = ended + RESTS * (ended - began)
            if has_more:
                found = self._found(addresses)
        return found

    def _found(self, addresses: Array) -> list[str]:
        found = [""] * len(addresses)
        # What was written last is what holds.
        for piece in reversed(self._pieces):
            for at, place in enumerate(piece.places(addresses).tolist()):
                if place >= 0 and not found[at]:
                    found[at] = piece.name(place)
        return found

    def _read_on(self) -> bool:
        """Read what was added since; False where nothing was."""
        for path in self._paths:
            try:
                fd = open_regular(path, flags=os.O_NOFOLLOW)
            except (OSError, ValueError):
                continue
            try:
                if os.fstat(fd).st_uid in self._owners:
                    return self._read(fd)
            finally:
                os.close(fd)
        return False

    def _read(self, fd: int) -> bool:
        identity = identity_of(fd)
        before = self._identity
        is_longer = (
            before is not None
            and (identity.device, identity.inode) == (before.device, before.inode)
            and identity.size_bytes >= self._read_bytes
        )
        if not is_longer or len(self._pieces) >= PIECES_MAX:
            self._pieces, self._read_bytes = [], max(0, identity.size_bytes - FILE_BYTES_MAX)
        self._identity = identity
        text = os.pread(fd, FILE_BYTES_MAX, self._read_bytes)
        # The last line may be half written.
        text = text[: text.rfind(b"\n") + 1]
        self._read_bytes += len(text)
        if text:
            self._pieces.append(MapText(text))
        return bool(text)


def perf_map_of(lineage: tuple[int, ...]) -> PerfMap:
    """Find the map of a process: in its own /tmp, under the number that it has itself, or where it has ended under ours.

    ``lineage`` is the process, and behind it those that it comes from, whose /tmp may be the same.
    """
    pid = lineage[0]
    try:
        owner: int | None = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        owner = None
    name = f"/tmp/perf-{namespace_pid(pid) or pid}.map"
    return PerfMap((*(f"/proc/{each}/root{name}" for each in lineage), name), owner=owner)


def named(name: str) -> tuple[str, str]:
    """Give an entry's name as people read it, and the file that it tells of: ``py::f:/dir/m.py`` is ``f (m.py)``."""
    found = _PYTHON.fullmatch(name)
    if found is None:
        return name, ""
    function, file = found[1], found[2] or ""
    return (f"{function} ({file.rpartition('/')[2]})" if file else function), file
