"""Profiles: stacks with what was added up for them, read from a table's rows, and the functions that are on them."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from sonde.records.accounting import Accounting
from sonde.records.frames import COLUMNS, MARK, REASON, SEPARATOR, UNKNOWN, Frame, frames_of
from sonde.records.model import RecordBatch
from sonde.records.stacks import STACKS_MAX

COUNT = "count"
"""The column of how often; as a profile's weight it says that the weight is samples."""

WHY = "reason"
"""The column that says why something waited. It stands on the stack as its innermost frame: all of them end in the scheduler."""
BY = "waker_comm"
"""The column that says who ended the wait, where that was asked for; it stands behind the reason."""
LABELS: Mapping[str, str] = {WHY: "reason", BY: "waker"}
"""Columns that are kept with each stack, and what they are called there."""

_LONE = re.compile("[\ud800-\udfff]")
_NO_STACK = Frame("[no stack]", MARK)
_OTHER = Frame("[no stack: the table was full]", MARK)


@dataclass(frozen=True, slots=True)
class Measured:
    """What a profile is of: the command, the moment, how long, by which column, how often, and the accounting.

    ``weight`` is COUNT where samples were taken, ``frequency_hz`` times a second on each CPU; else a time in ``…_ns``.
    """

    title: str = ""
    request: str = ""
    host: str = ""
    began_ns: int = 0
    duration_ns: int = 0
    weight: str = COUNT
    frequency_hz: float = 0.0
    accounting: Accounting = field(default_factory=Accounting)

    @property
    def heading(self) -> str:
        """Give the command with what was asked for."""
        return f"{self.title} {self.request}".strip()

    @property
    def is_time(self) -> bool:
        """Tell whether the weight is nanoseconds rather than samples."""
        return self.weight.endswith("_ns")

    @property
    def unit(self) -> str:
        """Name the weight's unit."""
        return "nanoseconds" if self.is_time else "samples"

    def time_ns(self, weight: int) -> int:
        """Give what a weight is as time: samples by the time between two of them; 0 where that is not known."""
        if self.is_time:
            return weight
        return round(weight * 1e9 / self.frequency_hz) if self.frequency_hz else 0


@dataclass(frozen=True, slots=True)
class Stack:
    """Whose stack, its frames by number, the outermost first, and what was added up for it; ``labels`` are other columns."""

    pid: int | None
    comm: str
    frames: tuple[int, ...]
    weight: int
    count: int
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Function:
    """A function over all its places: ``own`` weight is where it was innermost, ``total`` where it was on the stack.

    ``file`` and ``line`` are the place that most of its weight is at. A mark's ``module`` is that of the frame next to it.
    """

    name: str
    kind: str
    module: str
    file: str
    line: int
    own: int
    total: int

    @property
    def source(self) -> str:
        """Write where in the source it is."""
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True, slots=True)
class Broken:
    """What stacks that do not reach their end weigh: the mark that says so, by binary."""

    mark: str
    module: str
    weight: int


@dataclass(frozen=True)
class Profile:
    """Stacks of one moment, whose frames are numbers in ``frames``; ``function_of`` numbers their functions.

    Frames of one function differ by their places in the source: the first of them stands for the function.
    """

    frames: Sequence[Frame]
    function_of: Sequence[int]
    stacks: Sequence[Stack]
    measured: Measured = field(default_factory=Measured)

    @cached_property
    def total(self) -> int:
        """Add up all weight."""
        return sum(stack.weight for stack in self.stacks)

    @cached_property
    def count(self) -> int:
        """Add up how often: samples, or what a time was added up from."""
        return sum(stack.count for stack in self.stacks)

    @cached_property
    def functions(self) -> Mapping[int, Function]:
        """Give the functions by number; recursion counts once."""
        own: dict[int, int] = defaultdict(int)
        total: dict[int, int] = defaultdict(int)
        places: dict[int, int] = defaultdict(int)
        numbers = self.function_of
        for stack in self.stacks:
            weight = stack.weight
            for frame in set(stack.frames):
                places[frame] += weight
            for function in {numbers[frame] for frame in stack.frames}:
                total[function] += weight
            own[numbers[stack.frames[-1]]] += weight
        heaviest: dict[int, int] = {}
        for frame, weight in places.items():
            best = heaviest.get(numbers[frame])
            if best is None or weight > places[best]:
                heaviest[numbers[frame]] = frame
        return {
            number: _function(self.frames[heaviest[number]], own[number], weight)
            for number, weight in total.items()
        }

    @cached_property
    def broken(self) -> Sequence[Broken]:
        """Give the marks that stand for missing frames, the heaviest first."""
        marks = [each for each in self.functions.values() if each.kind == MARK]
        found = [Broken(each.name, each.module, each.total) for each in marks]
        return sorted(found, key=lambda each: (-each.weight, each.mark, each.module))

    @property
    def threads(self) -> Mapping[tuple[int | None, str], Sequence[Stack]]:
        """Give the stacks by process and thread name, in their order."""
        found: dict[tuple[int | None, str], list[Stack]] = {}
        for stack in self.stacks:
            found.setdefault((stack.pid, stack.comm), []).append(stack)
        return found


def _function(frame: Frame, own: int, total: int) -> Function:
    return Function(frame.name, frame.kind, frame.module, frame.file, frame.line, own, total)


class ProfileReader:
    """Makes profiles of a table's batches; what it has read of a stack once is a look-up for later batches.

    Columns: COLUMNS, ``pid`` and ``comm``, ``count``, the weight; WHY, BY and LABELS where they are.
    """

    def __init__(self) -> None:
        self._begin()

    def _begin(self) -> None:
        self._frames: list[Frame] = []
        self._function_of: list[int] = []
        self._numbers: dict[tuple[str, str, str, str], int] = {}
        self._functions: dict[tuple[str, str, str], int] = {}
        self._stacks: dict[tuple[Any, ...], tuple[int, ...]] = {}

    def read(self, batch: RecordBatch, measured: Measured) -> Profile:
        """Make a profile of one batch; rows without weight are left out."""
        if len(self._stacks) > STACKS_MAX:
            # Of a run of hours: what was read is forgotten, not kept for ever.
            self._begin()
        size = len(batch)
        values = [_list(batch, name, size) for name in (*COLUMNS, "pid", "comm", "is_other")]
        weights, counts = _list(batch, measured.weight, size), _list(batch, COUNT, size)
        ends = (_list(batch, WHY, size), _list(batch, BY, size))
        rows = zip(*values, weights, counts, *ends, _labels_of(batch), strict=True)
        stacks = [
            Stack(
                pid,
                _clean(comm) if comm else "?",
                self._frames_of((stack, kinds, modules, sources), is_other=bool(is_other))
                + self._why(reason, waker),
                weight * batch.scale,
                (weight if count is None else count) * batch.scale,
                labels,
            )
            for stack, kinds, modules, sources, pid, comm, is_other, weight, count, reason, waker, labels in rows
            if weight
        ]
        return Profile(self._frames, self._function_of, stacks, measured)

    def _why(self, reason: str | None, waker: str | None) -> tuple[int, ...]:
        names = [reason] if reason else []
        names += [f"woken by {waker}"] if waker else []
        return tuple(self._number(Frame(f"[{_clean(name)}]", REASON)) for name in names)

    def _frames_of(self, texts: tuple[Any, ...], *, is_other: bool) -> tuple[int, ...]:
        found = self._stacks.get(texts)
        if found is None or is_other:
            found = self._read_stack(texts) or (self._number(_OTHER if is_other else _NO_STACK),)
            if not is_other:
                self._stacks[texts] = found
        return found

    def _read_stack(self, texts: tuple[Any, ...]) -> tuple[int, ...]:
        stack, kinds, modules, sources = (_clean(text) if text else "" for text in texts)
        if not kinds:
            return ()
        names, binaries, places = (text.split(SEPARATOR) for text in (stack, modules, sources))
        if len(names) == len(binaries) == len(places) == len(kinds):
            if kinds[0] == MARK and not binaries[0] and len(binaries) > 1:
                # What broke off is that binary's.
                binaries[0] = binaries[1]
            keys = list(zip(names, kinds, binaries, places, strict=True))
            numbers = self._numbers
            try:
                return tuple([numbers[key] for key in keys])
            except KeyError:
                return tuple(self._numbers_of(keys))
        frames = frames_of(dict(zip(COLUMNS, (stack, kinds, modules, sources), strict=True)))
        return tuple(self._number(frame) for frame in frames)

    def _numbers_of(self, keys: Sequence[tuple[str, str, str, str]]) -> list[int]:
        known = self._numbers
        found = []
        for key in keys:
            number = known.get(key)
            if number is None:
                name, kind, module, source = key
                row = dict(zip(COLUMNS, (name, kind, module, source), strict=True))
                number = known[key] = self._number(frames_of(row)[0])
            found.append(number)
        return found

    def _number(self, frame: Frame) -> int:
        if not frame.name:
            frame = Frame("[unknown]", frame.kind or UNKNOWN, frame.module, frame.file, frame.line)
        key = (frame.name, frame.kind, frame.module, frame.source)
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self._frames)
            self._frames.append(frame)
            self._function_of.append(self._functions.setdefault(key[:3], number))
        return number


def _labels_of(batch: RecordBatch) -> Sequence[tuple[tuple[str, str], ...]]:
    names = [name for name in LABELS if name in batch.columns]
    if not names:
        return [()] * len(batch)
    rows = zip(*(batch[name].tolist() for name in names), strict=True)
    return [
        tuple((LABELS[name], _clean(text)) for name, text in zip(names, row, strict=True) if text)
        for row in rows
    ]


def _list(batch: RecordBatch, name: str, size: int) -> Sequence[Any]:
    values = batch.columns.get(name)
    return [None] * size if values is None else values.tolist()


def _clean(text: str) -> str:
    """Give text that is Unicode: what was no UTF-8 is replaced."""
    return text if text.isascii() else _LONE.sub("\ufffd", text)
