"""What a user's own object holds and tells: its maps, its globals, its records, its iterators' text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TextIO

from sonde.views import cell
from sonde.views.entries import Entries, machine_value, value_text
from sonde.views.json import JsonWriter
from sonde.views.line import Line, Span, cut_line, plain
from sonde.views.screen import Screen
from sonde.views.table import grid

_CLOCK_DIGITS = 3


@dataclass(frozen=True, slots=True)
class State:
    """An object at one moment: maps, global variables by name, and what its iterators wrote."""

    time_ns: int
    maps: Sequence[Entries]
    variables: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tally:
    """What came out of a stream; ``lost`` is None where nobody counts: in a ring buffer the program itself does."""

    delivered: int
    lost: int | None


class ObjectWriter(Protocol):
    """Writes what an object tells."""

    def begin(self, programs: Sequence[tuple[str, str, str]]) -> None:
        """Say where the programs are: name, section, place (or why there is none)."""
        ...

    def state(self, state: State, *, is_last: bool) -> None:
        """Write what there is now."""
        ...

    def record(self, stream: str, value: Any, time_ns: int) -> None:
        """Write one record: decoded, or its bytes."""
        ...

    def close(self, tallies: Mapping[str, Tally]) -> None:
        """End, with what came out of each stream."""
        ...


class JsonObjectWriter:
    """One JSON object a line: ``program``, ``map`` entries, ``variable``, ``stream`` records, ``iterator`` text."""

    def __init__(self, file: TextIO) -> None:
        self._file, self._json = file, JsonWriter(file)

    def begin(self, programs: Sequence[tuple[str, str, str]]) -> None:
        for name, section, place in programs:
            self._json.line({"program": name, "section": section, "attached": place})
        self._file.flush()

    def state(self, state: State, *, is_last: bool) -> None:
        now = {"time": cell.rfc3339(state.time_ns)}
        for each in state.maps:
            for row in each.rows():
                self._json.line(now | row)
        for name, value in state.variables.items():
            self._json.line(now | {"variable": name, "value": machine_value(value)})
        for name, text in state.texts.items():
            self._json.line(now | {"iterator": name, "text": text})
        self._file.flush()

    def record(self, stream: str, value: Any, time_ns: int) -> None:
        what = {"bytes" if isinstance(value, bytes) else "record": machine_value(value)}
        self._json.line({"time": cell.rfc3339(time_ns), "stream": stream, **what})

    def close(self, tallies: Mapping[str, Tally]) -> None:
        self._json.line(
            {
                "accounting": {
                    name: {"delivered": tally.delivered, "lost": tally.lost}
                    for name, tally in tallies.items()
                }
            }
        )
        self._file.flush()


class TextObjectWriter:
    """Blocks of text; a map or variable is written again only when it has changed, and all of them at the end."""

    def __init__(
        self, file: TextIO, title: str, *, limit: int, paint: Callable[[Iterable[Span]], str] = plain
    ) -> None:
        self._file, self._title, self._limit, self._paint = file, title, limit, paint
        self._before: State | None = None

    def begin(self, programs: Sequence[tuple[str, str, str]]) -> None:
        self._put(heading(self._title, programs))

    def state(self, state: State, *, is_last: bool) -> None:
        changed = state if is_last else self._changed(state)
        lines = drawn(changed, limit=self._limit)
        self._before = state
        if lines:
            self._put([[], [(cell.clock(state.time_ns), "dim")], *lines])

    def _changed(self, state: State) -> State:
        if self._before is None:
            return state
        before = {each.name: each.pairs for each in self._before.maps}
        values = self._before.variables
        return State(
            state.time_ns,
            [each for each in state.maps if each.pairs and each.pairs != before.get(each.name)],
            {name: value for name, value in state.variables.items() if value != values.get(name)},
            state.texts,
        )

    def record(self, stream: str, value: Any, time_ns: int) -> None:
        self._put([record_line(stream, value, time_ns)], flush=False)

    def close(self, tallies: Mapping[str, Tally]) -> None:
        self._put([tally_line(name, tally) for name, tally in tallies.items()])

    def _put(self, lines: Sequence[Line], *, flush: bool = True) -> None:
        for line in lines:
            self._file.write(self._paint(line) + "\n")
        if flush:
            self._file.flush()


class ScreenObjectWriter:
    """Redraws the maps of an object in place; for objects without records."""

    def __init__(self, screen: Screen, title: str) -> None:
        self._screen, self._title = screen, title
        self._head: list[Line] = []
        self._state: State | None = None

    def begin(self, programs: Sequence[tuple[str, str, str]]) -> None:
        self._head = heading(self._title, programs)

    def state(self, state: State, *, is_last: bool) -> None:
        self._state = state
        if not is_last:
            self._screen.show(self._draw)

    def record(self, stream: str, value: Any, time_ns: int) -> None:
        raise AssertionError("an object with records is not drawn in place")

    def close(self, tallies: Mapping[str, Tally]) -> None:
        self._screen.leave(self._draw)

    def _draw(self, width: int, height: int) -> list[Line]:
        state = self._state
        if state is None:
            return self._head
        lines = [*self._head, [(cell.clock(state.time_ns), "dim")]]
        # The most entries of each map that all fit with.
        limits = range(max([1, *(len(each.pairs) for each in state.maps)]), 0, -1)
        room = height - len(lines)
        fitting = bisect_left(limits, x=True, key=lambda limit: len(drawn(state, limit=limit)) <= room)
        lines += drawn(state, limit=limits[min(fitting, len(limits) - 1)])
        return [cut_line(line, width) for line in lines][:height]


def heading(title: str, programs: Sequence[tuple[str, str, str]]) -> list[Line]:
    """Draw the title, and where each program is."""
    names = max((len(name) for name, _, _ in programs), default=0)
    return [
        [(cell.text(title), "bold")],
        *(
            [("  ", ""), (f"{cell.text(name):<{names}}", "cyan"), (f"  {cell.text(place)}", "")]
            for name, _, place in programs
        ),
    ]


def drawn(state: State, *, limit: int) -> list[Line]:
    """Draw maps, variables and the text of iterators, with an empty line between them."""
    parts = [each.draw(limit=limit) for each in state.maps]
    if state.variables:
        rows = [(name, value_text(value)) for name, value in state.variables.items()]
        parts.append(
            [[("variables", "bold")], *([("  ", ""), *line] for line in grid(("NAME", "VALUE"), rows))]
        )
    for name, text in state.texts.items():
        written: list[Line] = [[("  ", ""), (cell.text(line), "")] for line in text.splitlines()]
        parts.append([[(name, "bold"), ("  iterator", "dim")], *written])
    return [line for at, part in enumerate(parts) for line in ([[], *part] if at and len(part) > 1 else part)]


def record_line(stream: str, value: Any, time_ns: int) -> Line:
    """Draw one record."""
    clock = cell.clock(time_ns, digits=_CLOCK_DIGITS)
    return [(f"{clock}  ", "dim"), (f"{stream}  ", "cyan"), (value_text(value), "")]


def tally_line(stream: str, tally: Tally) -> Line:
    """Draw what came out of a stream."""
    line: Line = [(f"{stream}: delivered {tally.delivered:,}", "")]
    if tally.lost is None:
        return [*line, (", what found the ring full only the program can count", "dim")]
    return [*line, (f", lost {tally.lost:,}", "bold red" if tally.lost else "")]
