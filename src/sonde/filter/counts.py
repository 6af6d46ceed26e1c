"""What came of the packets: counters by slot, over all sets of rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from sonde.bpf.map import possible_cpus

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.map import Map

    Figures = npt.NDArray[np.uint64]


class Count(NamedTuple):
    """What met a rule, and what of it was dropped; in a dry run: would have been. As struct counters of filter.bpf.c."""

    packets: int = 0
    bytes: int = 0
    dropped: int = 0
    dropped_bytes: int = 0
    shared_bucket: int = 0


MEMBERS = len(Count._fields)


class Counts:
    """Reads counters, those of maps that were replaced by larger ones too, and of rules that are no more."""

    def __init__(self, counters: Map, seen: Map) -> None:
        self.counters, self.seen = counters, seen
        self._carried: Figures = np.zeros((counters.max_entries, MEMBERS), dtype=np.uint64)
        self.retired: Figures = np.zeros(MEMBERS, dtype=np.uint64)

    def read(self) -> Figures:
        """Give all counters, a row for each slot."""
        return self._carried + _summed(self.counters, MEMBERS)

    def seen_packets(self) -> int:
        """Give the number of packets that the program has begun with."""
        return int(_summed(self.seen, 2)[0, 0])

    def move(self, counters: Map, seen: Map) -> None:
        """Go on with other maps, or the same ones of another object; no program writes to the old ones any more."""
        if counters.id != self.counters.id:
            figures = self.read()
            self._carried = np.zeros((counters.max_entries, MEMBERS), dtype=np.uint64)
            self._carried[: len(figures)] = figures
        self.counters, self.seen = counters, seen

    def retire(self, slots: frozenset[int]) -> None:
        """Keep what slots have counted, and let others have them; no program knows them any more."""
        if not slots:
            return
        numbers = np.array(sorted(slots), dtype=np.uint32)
        self.retired += self.read()[numbers].sum(axis=0, dtype=np.uint64)
        self._carried[numbers] = 0
        zeros = np.zeros((len(numbers), possible_cpus()), dtype=self.counters.value_dtype)
        self.counters.update_many(numbers, zeros)


def _summed(map: Map, members: int) -> Figures:
    """Add the CPUs' counters of an array."""
    _, values, count = map.read_bytes()
    each: Any = np.frombuffer(values, dtype=np.uint64, count=count * map.stride_bytes // 8)
    total: Figures = each.reshape(count, possible_cpus(), members).sum(axis=1, dtype=np.uint64)
    return total
