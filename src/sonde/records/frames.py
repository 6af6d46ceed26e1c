"""Frames: what the addresses of a stack are called, and how a stack travels in a batch's columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from sonde.records.model import Values

STACK = "sonde_stack_t"
"""The meaning of the column ``stack``: the names of its frames, the outermost first, with SEPARATOR between them."""

KERNEL, NATIVE, INLINED, INTERPRETED, UNKNOWN, MARK, REASON = "k", "n", "i", "p", "u", "m", "r"
"""What a frame is: a function of the kernel; of a binary; one that was inlined into the frame before it; of an
interpreter or its compiler (Python, a JIT); an address without a name; no frame, but what is to be said at its place; no frame, but why what is below it waited."""

KINDS = {
    KERNEL: "kernel",
    NATIVE: "native",
    INLINED: "inlined",
    INTERPRETED: "interpreted",
    UNKNOWN: "unknown",
    MARK: "mark",
    REASON: "reason",
}
"""The words for them."""

SEPARATOR = ";"
COLUMNS = ("stack", "frame_kinds", "frame_modules", "frame_sources")
"""The columns of a stack: names, a letter for each kind, binaries, and places in the source (``file.c:12``)."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One function on a stack: its name as it is shown, its kind, the binary's path, and where in the source it was.

    ``module`` is ``[kernel]`` or ``[NAME]`` for the kernel and its modules; ``file`` is "" and ``line`` 0 where that is not known.
    """

    name: str
    kind: str = NATIVE
    module: str = ""
    file: str = ""
    line: int = 0

    @property
    def source(self) -> str:
        """Write where in the source it is: ``file.c:12``, ``file.c``, or nothing."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Written(NamedTuple):
    """Frames as they stand in the columns COLUMNS, in that order."""

    names: str
    kinds: str
    modules: str
    sources: str

    def outermost(self, count: int) -> Written:
        """Give so many frames, without those behind them."""
        if count >= len(self.kinds):
            return self
        names, modules, sources = (
            SEPARATOR.join(text.split(SEPARATOR)[:count]) for text in (self.names, self.modules, self.sources)
        )
        return Written(names, self.kinds[:count], modules, sources)


NOTHING = Written("", "", "", "")
"""Where there is no stack."""


def written(frames: Sequence[Frame]) -> Written:
    """Write frames, the outermost first."""
    return Written(
        SEPARATOR.join([_plain(each.name) for each in frames]),
        "".join([each.kind for each in frames]),
        SEPARATOR.join([_plain(each.module) for each in frames]),
        SEPARATOR.join([_plain(each.source) for each in frames]),
    )


def columns_of(stacks: Sequence[Written]) -> dict[str, Values]:
    """Make the columns COLUMNS of stacks."""
    import numpy as np

    return {name: np.array([each[at] for each in stacks], dtype=object) for at, name in enumerate(COLUMNS)}


def frames_of(row: Mapping[str, Any]) -> list[Frame]:
    """Read the frames of a row with the columns COLUMNS; what does not fit together is left empty, not refused."""
    kinds = row["frame_kinds"] or ""
    count = len(kinds)
    names, modules, sources = (
        _parts(row[name], count) for name in ("stack", "frame_modules", "frame_sources")
    )
    return [
        Frame(name, kind if kind in KINDS else UNKNOWN, module, *_place(source))
        for name, kind, module, source in zip(names, kinds, modules, sources, strict=True)
    ]


def _plain(text: str) -> str:
    """Give text without the separator, and without what would end a line of folded stacks."""
    return text.replace(SEPARATOR, ":").replace("\n", " ")


def _parts(text: str | None, count: int) -> list[str]:
    found = (text or "").split(SEPARATOR) if count else []
    return (found + [""] * count)[:count]


def _place(source: str) -> tuple[str, int]:
    file, colon, line = source.rpartition(":")
    return (file, int(line)) if colon and line.isascii() and line.isdigit() else (source, 0)
