"""Counts by process as differences: what a collector's statistics grew by."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from sonde.records.model import Column, RecordBatch, Schema

OTHER = 0
"""The pid under which is what found the map full, or was folded."""

SCHEMA = Schema("syscalls.stats", (Column("pid"), Column("count"), Column("is_other")))


class CountsSource:
    """Gives what was added to {pid: count} since it was last read."""

    def __init__(self, stats: Callable[[], Mapping[int, int]]) -> None:
        self._stats = stats
        self._before: dict[int, int] = {}

    def read(self) -> RecordBatch:
        """Read; raises what reading the statistics raises."""
        import numpy as np

        now = dict(self._stats())
        added = growth(self._before, now)
        self._before = now
        pids = np.fromiter(added, np.int64, len(added))
        counts = np.fromiter(added.values(), np.uint64, len(added))
        columns = {"pid": pids, "count": counts, "is_other": pids == OTHER}
        return RecordBatch(SCHEMA, columns, time_ns=time.time_ns())

    def renew(self) -> None:
        """Say that the statistics begin at nothing."""
        self._before = {}


def growth(before: Mapping[int, int], now: Mapping[int, int]) -> dict[int, int]:
    """Give what each count grew by, where it did.

    What is of an ended process may have been folded into ``OTHER``, which has not grown by that. A count that went
    back while nothing was folded began again.
    """
    steps = {pid: now.get(pid, 0) - before.get(pid, 0) for pid in {*before, *now}}
    other = steps.pop(OTHER, 0)
    shrunk = -sum(step for step in steps.values() if step < 0)
    added = {pid: step for pid, step in steps.items() if step > 0}
    if other > 0:
        added[OTHER] = max(0, other - shrunk)
    else:
        added |= {pid: now[pid] for pid, step in steps.items() if step < 0 and pid in now}
    return {pid: count for pid, count in added.items() if count}
