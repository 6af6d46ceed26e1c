"""The tree of a profile's stacks: what stands on what, and how wide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sonde.records.profile import Profile

ROOT = "all"
THREAD = "t"
"""The kind of what stands below everything and below each thread's stacks: no frame, but whose frames they are."""


@dataclass(frozen=True, slots=True)
class Name:
    """What is written on boxes: a function, or a thread's name with its processes as ``module``."""

    text: str
    kind: str
    module: str = ""
    source: str = ""

    @property
    def shade(self) -> int:
        """Give a number from 0 to 9, the same for the same name: which tone of its kind's colour it has."""
        found = 0
        for character in self.text[:24]:
            found = (found * 31 + ord(character)) & 0xFFFF
        return found % 10


@dataclass(frozen=True, slots=True)
class Box:
    """One box: its name's number, how deep it stands, where it begins, how much it weighs, and how much of that is its own."""

    name: int
    depth: int
    start: int
    weight: int
    own: int


@dataclass(frozen=True)
class Tree:
    """The boxes, each before those that stand on it, from A to Z; ``left_out`` are those that were too light."""

    names: list[Name]
    boxes: list[Box]
    left_out: int = 0
    lightest: int = 0

    @property
    def depth(self) -> int:
        """Count the rows."""
        return max((box.depth for box in self.boxes), default=-1) + 1


def tree_of(profile: Profile, *, boxes_max: int) -> Tree:
    """Add up stacks from their outermost frames on, by function; of more than ``boxes_max`` boxes the lightest are left out."""
    grown = _Grown(profile)
    lightest, left_out = _limit(grown.weights, boxes_max)
    names = _Names(profile, grown.threads)
    boxes = list(_boxes(grown, names, lightest))
    return Tree(names.found, boxes, left_out, lightest if left_out else 0)


class _Grown:
    """All boxes as lists, by number: 0 stands below all. Keys are functions' numbers, and behind those threads'."""

    def __init__(self, profile: Profile) -> None:
        self.weights, self.owns, self.keys, self.parents = [0], [0], [-1], [-1]
        first = len(profile.frames)
        threads: dict[str, int] = {}
        known: dict[int, int] = {}
        numbers, weights, width = profile.function_of, self.weights, first + len(profile.stacks)
        for stack in profile.stacks:
            weight, node = stack.weight, 0
            thread = threads.setdefault(stack.comm, first + len(threads))
            weights[0] += weight
            for key in (thread, *[numbers[frame] for frame in stack.frames]):
                place = node * width + key
                child = known.get(place)
                if child is None:
                    child = known[place] = len(weights)
                    weights.append(0)
                    self.owns.append(0)
                    self.keys.append(key)
                    self.parents.append(node)
                weights[child] += weight
                node = child
            self.owns[node] += weight
        self.threads = list(threads)


def _limit(weights: list[int], boxes_max: int) -> tuple[int, int]:
    """Give the least weight of a box that stays, and how many boxes are lighter."""
    if len(weights) <= boxes_max:
        return 0, 0
    ordered = sorted(weights, reverse=True)
    # What stands on a box is no heavier than it: those that stay are a tree.
    lightest = ordered[boxes_max - 1]
    if ordered[boxes_max] == lightest:
        lightest += 1
    return lightest, sum(weight < lightest for weight in weights)


def _boxes(grown: _Grown, names: _Names, lightest: int) -> Iterator[Box]:
    weights, keys = grown.weights, grown.keys
    children: dict[int, list[int]] = {}
    for node, parent in enumerate(grown.parents):
        if weights[node] >= lightest and parent >= 0:
            children.setdefault(parent, []).append(node)
    left = [(0, 0, 0)]
    while left:
        node, depth, start = left.pop()
        yield Box(names.number(keys[node]), depth, start, weights[node], grown.owns[node])
        found = []
        for child in sorted(children.get(node, ()), key=lambda child: names.order(keys[child])):
            found.append((child, depth + 1, start))
            start += weights[child]
        left.extend(reversed(found))


class _Names:
    """Numbers what is written on boxes, as it comes."""

    def __init__(self, profile: Profile, threads: Sequence[str]) -> None:
        self._profile, self._threads = profile, threads
        self._processes: dict[str, set[int]] = {}
        for pid, comm in profile.threads:
            if pid is not None:
                self._processes.setdefault(comm, set()).add(pid)
        self._numbers: dict[int, int] = {}
        self._orders: dict[int, tuple[str, int]] = {}
        self.found: list[Name] = []

    def number(self, key: int) -> int:
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.found)
            self.found.append(self._name(key))
        return number

    def order(self, key: int) -> tuple[str, int]:
        found = self._orders.get(key)
        if found is None:
            thread = key - len(self._profile.frames)
            text = self._threads[thread] if thread >= 0 else self._profile.frames[key].name
            found = self._orders[key] = (text, key)
        return found

    def _name(self, key: int) -> Name:
        if key < 0:
            return Name(ROOT, THREAD)
        thread = key - len(self._profile.frames)
        if thread >= 0:
            comm = self._threads[thread]
            pids = sorted(self._processes.get(comm, ()))
            words = f"process {pids[0]}" if len(pids) == 1 else f"{len(pids):,} processes" if pids else ""
            return Name(comm, THREAD, words)
        function = self._profile.functions[key]
        return Name(function.name, function.kind, function.module, function.source)
