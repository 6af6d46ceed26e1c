"""Rows of figures while a benchmark's rounds go on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeVar

import msgspec

from benchmarks.machine import plain
from benchmarks.results import Column, Kind, Row

T = TypeVar("T")


def in_turn(contenders: Sequence[T], number: int) -> Sequence[T]:
    """Give the order of a round: every second one goes backwards, so that who is first, and who follows whom, is not always the same."""
    return contenders[::-1] if number % 2 else contenders


class Gathering:
    """Rows while rounds go on: figures come in one by one, for a contender and a place on the axis."""

    def __init__(self) -> None:
        self._rows: dict[tuple[str, float], Row] = {}
        self._round = 0

    def rounds(self, count: int) -> Iterator[int]:
        """Go through so many rounds; figures that come in meanwhile are that round's."""
        for number in range(count):
            self.begin_round(number)
            yield number

    def begin_round(self, number: int) -> None:
        """Take what comes in from here on as this round's; the first is 0."""
        self._round = number

    def add(self, contender: str, kind: Kind, key: str, value: float, *, at: float = 0) -> None:
        """Add this round's figure, one of each key; of rounds without one there is None."""
        values = self._row(contender, kind, at).cells.setdefault(key, [])
        values += [None] * (self._round - len(values))
        if len(values) != self._round:
            raise ValueError(f"{contender} has its {key} of round {self._round + 1} already")
        values.append(value)

    def derive(self, key: str, of: str, floor: str, how: Callable[[float, float], float]) -> None:
        """Add under a key what a function makes of each round's figure and of the floor's in the same round."""
        for (_, at), row in self._rows.items():
            base = self._rows.get((floor, at))
            if of not in row.cells or base is None:
                continue
            rounds = zip(row.cells[of], base.cells.get(of, ()), strict=False)
            row.cells[key] = [
                None if value is None or over is None else how(value, over) for value, over in rounds
            ]

    def said(self, contender: str, kind: Kind, text: str, *, at: float = 0) -> None:
        """Keep what a tool said of itself."""
        row = self._row(contender, kind, at)
        self._rows[contender, at] = msgspec.structs.replace(row, said=plain(text))

    def missing(self, contender: str, kind: Kind, why: str, *, at: float = 0) -> None:
        """Note why a contender has no figures."""
        if (contender, at) not in self._rows:
            self._rows[contender, at] = Row(contender, kind, {}, at, missing=plain(why))

    def is_missing(self, contender: str, *, at: float = 0) -> bool:
        """Tell whether a contender was noted as one that cannot run."""
        row = self._rows.get((contender, at))
        return row is not None and bool(row.missing)

    def _row(self, contender: str, kind: Kind, at: float) -> Row:
        return self._rows.setdefault((contender, at), Row(contender, kind, {}, at))

    def rows(self, order: Iterable[str], columns: Iterable[Column], also: Iterable[str] = ()) -> list[Row]:
        """Give the rows in an order of contenders, then along the axis, with the figures of these columns, and of keys that are not shown."""
        place, keys = {name: number for number, name in enumerate(order)}, {column.key for column in columns}
        kept = keys | set(also)
        return [
            msgspec.structs.replace(row, cells={key: each for key, each in row.cells.items() if key in kept})
            for row in sorted(self._rows.values(), key=lambda row: (place[row.contender], row.at))
            if row.missing or keys & row.cells.keys()
        ]
