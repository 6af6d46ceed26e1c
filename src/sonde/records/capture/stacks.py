"""Stacks in a capture: each frame of each stack is written once, and rows have the number of the innermost.

A companion output has a row for each place in the tree of all stacks: ``parent`` is the row of its caller, counted from 1
(0: none), ``like`` the row that has the same frame and came first, which is itself where ``name``, ``kind``, ``module`` and
``source`` are written. 10,000 stacks of 40 frames, 30 MB as columns of text at every reading, are 2 to 5 MB once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sonde.records.capture.kind import TEXT, Kind
from sonde.records.frames import COLUMNS, NOTHING, SEPARATOR, Written, columns_of, frames_of
from sonde.records.stacks import STACKS_MAX

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.records.model import Values

    Array = npt.NDArray[Any]

NUMBER = "stack"
"""The column that has the stack's number, in the place of COLUMNS."""
NUMBER_KIND = Kind("uint32")
FRAME_KINDS: Mapping[str, Kind] = {
    "parent": NUMBER_KIND,
    "like": NUMBER_KIND,
    "name": Kind(TEXT),
    "kind": Kind(TEXT),
    "module": Kind(TEXT),
    "source": Kind(TEXT),
}
"""The columns of a companion."""

_TEXTS = ("name", "kind", "module", "source")
_PLACES_MAX = 1 << 20
"""So many places are known while writing; beyond that what comes again is written again."""

Texts = tuple[Any, ...]


class StackNumbers:
    """Numbers the stacks of an output while it is written."""

    def __init__(self) -> None:
        self._written = 0
        self._begin()

    def _begin(self) -> None:
        self._stacks: dict[Texts, int] = {}
        self._places: dict[tuple[int, int], int] = {}
        self._frames: dict[tuple[str, ...], int] = {}

    def of(self, columns: Mapping[str, Values]) -> tuple[Array, dict[str, Values]]:
        """Give the numbers of a batch's stacks, and the places that are new, as columns of a companion."""
        import numpy as np

        if len(self._places) > _PLACES_MAX or len(self._stacks) > STACKS_MAX:
            self._begin()
        new: list[tuple[Any, ...]] = []
        rows = zip(*(columns[name].tolist() for name in COLUMNS), strict=True)
        known = self._stacks
        numbers = []
        for texts in rows:
            number = known.get(texts)
            if number is None:
                number = known[texts] = self._number(texts, new)
            numbers.append(number)
        return np.array(numbers, np.uint32), _columns_of(new)

    def _number(self, texts: Texts, new: list[tuple[Any, ...]]) -> int:
        place = 0
        for frame in frames_of(dict(zip(COLUMNS, texts, strict=True))):
            key = (frame.name, frame.kind, frame.module, frame.source)
            like = self._frames.get(key, 0)
            found = self._places.get((place, like)) if like else None
            if found is None:
                self._written += 1
                found = self._written
                self._frames.setdefault(key, found)
                self._places[place, like or found] = found
                new.append((place, like or found, *((None,) * 4 if like else key)))
            place = found
        return place


def _columns_of(rows: Sequence[tuple[Any, ...]]) -> dict[str, Values]:
    import numpy as np

    found: dict[str, Values] = {}
    for at, (name, kind) in enumerate(FRAME_KINDS.items()):
        values = np.empty(len(rows), kind.dtype)
        values[:] = [row[at] for row in rows]
        found[name] = values
    return found


class StackTexts:
    """Gives stacks back by their numbers, of the companion's rows; raises ValueError for what contradicts itself."""

    def __init__(self) -> None:
        self._parents: list[int] = [0]
        self._likes: list[int] = [0]
        self._frames: dict[int, tuple[str, ...]] = {}
        self._stacks: dict[int, Written] = {0: NOTHING}

    def add(self, columns: Mapping[str, Values]) -> None:
        """Take more rows of the companion."""
        rows = zip(*(columns[name].tolist() for name in FRAME_KINDS), strict=True)
        for number, (parent, like, *texts) in enumerate(rows, len(self._parents)):
            if like == number:
                if None in texts or len(texts[1]) != 1:
                    raise ValueError("a frame has no name, or no kind")
                self._frames[number] = tuple(texts)
            elif like not in self._frames:
                raise ValueError("a frame is like one that there is not")
            if parent is None or not 0 <= parent < number:
                raise ValueError("a frame's caller comes after it")
            self._parents.append(parent)
            self._likes.append(like)

    def columns(self, numbers: Values) -> dict[str, Values]:
        """Give the columns COLUMNS of stacks."""
        return columns_of([self._written(number) for number in numbers.tolist()])

    def _written(self, number: int | None) -> Written:
        found = self._stacks.get(number or 0)
        if found is None:
            if number is None or number >= len(self._parents):
                raise ValueError("a row's stack is not there")
            found = self._stacks[number] = self._read(number)
        return found

    def _read(self, place: int) -> Written:
        frames = []
        while place:
            frames.append(self._frames[self._likes[place]])
            place = self._parents[place]
        names, kinds, modules, sources = zip(*reversed(frames), strict=True)
        return Written(
            SEPARATOR.join(names), "".join(kinds), SEPARATOR.join(modules), SEPARATOR.join(sources)
        )
