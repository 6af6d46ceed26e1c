"""Cgroups: from the number in a record to the path, of those too that are gone already."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from sonde.enrich.each import TEXT
from sonde.enrich.process_event import EVENTS
from sonde.records.cgroup_tree import ROOT_ID, hierarchies, walk
from sonde.records.model import RecordBatch

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.records.model import Values

Key = tuple[int, int]
"""A hierarchy and an id in it, which the kernel gives to no other cgroup after it."""

PATHS_MAX = 16_384
"""So many paths are known; those that nobody has asked for longest are forgotten first."""

WALK_EVERY_S = 1.0
"""The directories are walked so often at most: a walk takes 20 ms and more."""


class Cgroups:
    """Paths by id: from the directories that there are, and from the stream's records of cgroups that are made.

    The directories are walked when an id comes up that is not known; one that is not among them then is gone for
    good. ``count_max`` bounds the memory. ``mounts`` are mount points by hierarchy. May be used by several threads.
    """

    def __init__(
        self,
        mounts: Mapping[int, str] | None = None,
        *,
        count_max: int = PATHS_MAX,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.mounts = dict(hierarchies() if mounts is None else mounts)
        self._count_max, self._clock_s = count_max, clock_s
        self._walked_at = float("-inf")
        self._paths: dict[Key, str | None] = {}
        # Hierarchy → what the kernel's paths begin with, and ours do not.
        self._above = {
            hierarchy: "" for hierarchy, root in self.mounts.items() if _number_at(root) in (None, ROOT_ID)
        }
        self._lock = threading.Lock()
        self.walks = 0

    def __len__(self) -> int:
        return len(self._paths)

    def learn(self, known: Iterable[tuple[int, int, str]]) -> None:
        """Take paths: hierarchy, id, path; those of hierarchies that programs do not look at are left out.

        In a cgroup namespace the mount shows a part of the hierarchy, whose top is "/" there: so are these then.
        Until it is known where that is, those that are asked for are walked for.
        """
        with self._lock:
            for hierarchy, number, path in known:
                if hierarchy in self.mounts and self._knows_above(hierarchy, number, path):
                    above = self._above[hierarchy]
                    is_below = path.startswith(f"{above}/")
                    self._keep((hierarchy, number), path.removeprefix(above) if is_below else path)

    def _knows_above(self, hierarchy: int, number: int, path: str) -> bool:
        """Tell whether it is known what stands above the mount; one cgroup that is found below it tells that."""
        if hierarchy in self._above:
            return True
        key = (hierarchy, number)
        if key not in self._paths and self._clock_s() - self._walked_at >= WALK_EVERY_S:
            self._walk({key})
        ours = self._paths.get(key)
        if ours is not None and path.endswith(ours):
            self._above[hierarchy] = path.removesuffix(ours)
        return hierarchy in self._above

    def _keep(self, key: Key, path: str | None) -> None:
        self._paths.pop(key, None)
        self._paths[key] = path
        while len(self._paths) > self._count_max:
            del self._paths[next(iter(self._paths))]

    def path(self, number: int, hierarchy: int = 0) -> str | None:
        """Give a cgroup's path, None where nobody knows it any more."""
        return self.of([(hierarchy, number)])[0]

    def of(self, keys: list[Key]) -> list[str | None]:
        """Give the paths of cgroups, each asked for once."""
        with self._lock:
            missing = {key for key in keys if key not in self._paths}
            if missing and self._clock_s() - self._walked_at >= WALK_EVERY_S:
                self._walk(missing)
            found = [self._paths.get(key) for key in keys]
            for key, path in zip(keys, found, strict=True):
                if key in self._paths:
                    self._keep(key, path)
            return found

    def _walk(self, wanted: set[Key]) -> None:
        self.walks += 1
        self._walked_at = self._clock_s()
        for key in wanted:
            self._keep(key, None)
        for hierarchy, root in self.mounts.items():
            for number, path in walk(root):
                key = (hierarchy, number)
                if key in wanted or len(self._paths) < self._count_max:
                    self._keep(key, path)

    def paths(self, numbers: npt.NDArray[Any], hierarchy: npt.NDArray[Any]) -> Values:
        """Give the paths of many, each different one looked up once; masked where unknown, and for id 0."""
        import numpy as np

        # The hierarchy's number is small, and no id comes near 2^56.
        together = np.asarray(numbers, np.uint64) | np.asarray(hierarchy, np.uint64) << np.uint64(56)
        different, index = np.unique(together, return_inverse=True)
        keys = [(each >> 56, each & (1 << 56) - 1) for each in different.tolist()]
        found = self.of([key for key in keys if key[1]])
        names = iter(found)
        paths = np.array([next(names) if key[1] else None for key in keys], dtype=object)
        column = paths[index] if len(paths) else np.empty(0, dtype=object)
        return np.ma.masked_array(column, mask=np.array([each is None for each in paths], dtype=bool)[index])

    def feed(self, batch: RecordBatch) -> None:
        """Take the paths from a batch of the stream ``processes.lifecycle``."""
        import numpy as np

        event = np.asarray(batch["event"])
        made = event == ("cgroup" if event.dtype == object else EVENTS.index("cgroup"))
        if made.any():
            rows = batch.picking(made).rows(("hierarchy", "cgroup_id", "text"))
            self.learn((row["hierarchy"], row["cgroup_id"], row["text"]) for row in rows if row["text"])


def _number_at(root: str) -> int | None:
    try:
        return os.stat(root).st_ino
    except OSError:
        return None


@functools.cache
def machine_cgroups() -> Cgroups:
    """Give the one that all share: there is one machine."""
    return Cgroups()


def with_cgroup(batch: RecordBatch) -> RecordBatch:
    """Add ``cgroup``, the path, for ``cgroup_id`` and ``hierarchy``; a stream's own records tell some of them."""
    cgroups = machine_cgroups()
    if "event" in batch.columns:
        cgroups.feed(batch)
    paths = cgroups.paths(batch["cgroup_id"], batch["hierarchy"])
    return batch.adding({"cgroup": paths}, meanings={"cgroup": TEXT})
