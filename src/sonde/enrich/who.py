"""Who: rows and records get the attributes of the processes that they are of."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sonde.enrich.cgroup import Cgroups, machine_cgroups
from sonde.enrich.container import container_of
from sonde.enrich.each import each_once
from sonde.enrich.interned import NONE
from sonde.enrich.process import Processes
from sonde.enrich.process_files import Ask, ask_files
from sonde.enrich.unit import unit_of
from sonde.enrich.user import Users, machine_users
from sonde.errors import SondeError
from sonde.nearest import nearest
from sonde.records.model import RecordBatch
from sonde.records.retirement import lives

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.records.model import Values

    Array = npt.NDArray[Any]
    Slots = npt.NDArray[np.intp]

ATTRIBUTES: Mapping[str, tuple[str, ...]] = {
    "executable": ("process.executable.name",),
    "path": ("process.executable.path",),
    "command": ("process.command",),
    "user": ("process.owner",),
    "parent": ("process.parent_pid",),
    "pid": ("process.pid", "process.creation.time"),
    "unit": ("sonde.systemd.unit",),
    "user_unit": ("sonde.systemd.user_unit",),
    "container": ("container.id",),
    "pod": ("k8s.pod.uid",),
    "cgroup": ("process.linux.cgroup",),
}
"""What rows can be told apart by, and the attributes that it makes: names of the semantic conventions 1.44."""

DEFAULT = ("executable", "unit", "container")
DELETED = " (deleted)"


class Who:
    """Adds attributes to batches: ``by`` says which, of ``ATTRIBUTES``; raises SondeError for another word.

    ``take`` learns from the stream ``processes.lifecycle``, ``ask`` tells of the living that it has not told of. A row
    with ``pid`` and ``process_start_ns`` is of a process; one with ``cgroup_id`` and ``hierarchy`` alone of a cgroup.
    What is not known, and the row of all others, is masked.
    """

    def __init__(
        self,
        *,
        by: Sequence[str] = DEFAULT,
        ask: Ask = ask_files,
        processes: Processes | None = None,
        cgroups: Cgroups | None = None,
        users: Users | None = None,
    ) -> None:
        for word in by:
            if word not in ATTRIBUTES:
                near = nearest(word, ATTRIBUTES)
                hint = f"did you mean {' or '.join(near)}?" if near else f"valid: {', '.join(ATTRIBUTES)}"
                raise SondeError("tell rows apart", why=f"nothing is called {word}", hint=hint)
        self._by = tuple(dict.fromkeys(by))
        self.processes = Processes(ask, asks_for_users="user" in by) if processes is None else processes
        self._cgroups = cgroups
        self._users = machine_users() if users is None else users
        # Once for all: a clock that is set meanwhile must not give a process another birthday.
        self._booted_ns = time.time_ns() - time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    @property
    def attributes(self) -> tuple[str, ...]:
        """Name the columns that are added."""
        return tuple(name for word in self._by for name in ATTRIBUTES[word])

    @property
    def cgroups(self) -> Cgroups:
        """Give the cgroups' paths."""
        if self._cgroups is None:
            self._cgroups = machine_cgroups()
        return self._cgroups

    def take(self, batch: RecordBatch) -> None:
        """Learn from a batch of the stream ``processes.lifecycle``."""
        if len(batch):
            self.cgroups.feed(batch)
            self.processes.take(batch)

    def identify(self, batch: RecordBatch) -> RecordBatch:
        """Give the batch with the attributes as columns."""
        if "pid" in batch.columns and "process_start_ns" in batch.columns:
            return batch.adding(self._of_processes(batch))
        if "cgroup_id" in batch.columns and "hierarchy" in batch.columns:
            return batch.adding(self._of_cgroups(batch))
        return batch.adding({name: _nobody(len(batch)) for name in self.attributes})

    def has_ended(self, attributes: Mapping[str, Any]) -> bool:
        """Tell whether a series is of a process that has ended; without a pid it is of none."""
        pid, born = attributes.get("process.pid"), attributes.get("process.creation.time")
        if pid is None or born is None:
            return False
        rows = self.processes.rows
        slot = rows.newest(int(pid))
        if slot >= 0 and self._birthday(int(rows.start_ns[slot])) == born:
            return not rows.living[slot]
        milliseconds = round(datetime.fromisoformat(born).timestamp() * 1000)
        return not lives(int(pid), milliseconds * 1_000_000 - self._booted_ns)

    # ---- columns --------------------------------------------------------------------------------------------

    def _of_processes(self, batch: RecordBatch) -> dict[str, Values]:
        import numpy as np

        pid, start_ns = np.ma.filled(batch["pid"], 0), np.asarray(batch["process_start_ns"])
        slots = self.processes.find(pid, start_ns)
        unknown = (slots < 0) | ~self.processes.rows.is_known[slots]
        paths = self._paths(slots, unknown) if self._asks_for_cgroups else _nobody(0)
        added: dict[str, Values] = {}
        for name in self.attributes:
            if name == "process.pid":
                added[name] = np.ma.masked_array(pid, mask=pid == 0)
            elif name == "process.creation.time":
                # Of a process, too, of which nothing else is known.
                added[name] = each_once(np.ma.masked_array(start_ns, mask=pid == 0), self._birthday)
            elif name in _OF_PATH:
                added[name] = each_once(paths, _OF_PATH[name])
            else:
                added[name] = _OF_ROWS[name](self, slots, unknown)
        return added

    def _of_cgroups(self, batch: RecordBatch) -> dict[str, Values]:
        paths = self.cgroups.paths(batch["cgroup_id"], batch["hierarchy"])
        return {
            name: each_once(paths, _OF_PATH[name]) if name in _OF_PATH else _nobody(len(batch))
            for name in self.attributes
        }

    @property
    def _asks_for_cgroups(self) -> bool:
        return any(name in _OF_PATH for name in self.attributes)

    def _executable_names(self, slots: Slots, unknown: Array) -> Values:
        """The base name of what it runs; threads of the kernel in brackets; its own name where nobody knows."""
        import numpy as np

        rows = self.processes.rows
        names = np.array([*map(name_of, self.processes.executables.values), None], dtype=object)
        told = names[rows.executable[slots]]
        without = np.flatnonzero((rows.executable[slots] == NONE) & ~unknown)
        comm, is_kernel = rows.comm[slots[without]].tolist(), rows.is_kernel[slots[without]].tolist()
        told[without] = [
            f"[{name}]" if kernel else name for name, kernel in zip(comm, is_kernel, strict=True)
        ]
        return np.ma.masked_array(told, mask=unknown)

    def _executable_paths(self, slots: Slots, unknown: Array) -> Values:
        import numpy as np

        numbers = self.processes.rows.executable[slots]
        paths = np.array([*map(path_of, self.processes.executables.values), None], dtype=object)
        return np.ma.masked_array(paths[numbers], mask=unknown | (numbers == NONE))

    def _commands(self, slots: Slots, unknown: Array) -> Values:
        import numpy as np

        return np.ma.masked_array(self.processes.rows.comm[slots], mask=unknown)

    def _owners(self, slots: Slots, unknown: Array) -> Values:
        import numpy as np

        return self._users.names(np.ma.masked_array(self.processes.rows.user[slots], mask=unknown))

    def _parents(self, slots: Slots, unknown: Array) -> Values:
        import numpy as np

        parents = self.processes.rows.parent[slots]
        return np.ma.masked_array(parents, mask=unknown | (parents == 0))

    def _birthday(self, start_ns: int) -> str:
        seconds, rest = divmod(self._booted_ns + start_ns, 1_000_000_000)
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest // 1_000_000:03}Z"

    def _paths(self, slots: Slots, unknown: Array) -> Values:
        """Give the cgroups' paths, each different one looked up once, and all at once."""
        import numpy as np

        numbers = self.processes.rows.place[slots]
        masked = np.ma.masked_array(numbers, mask=unknown | (numbers == NONE))
        places = {
            number: self.processes.places.values[number] for number in np.unique(masked.compressed()).tolist()
        }
        keys = [place for place in places.values() if not isinstance(place, str)]
        known = dict(zip(keys, self.cgroups.of(keys), strict=True))

        def tell(number: int) -> str | None:
            place = places[number]
            return place or None if isinstance(place, str) else known[place]

        return each_once(masked, tell)


_OF_ROWS: Mapping[str, Callable[[Who, Slots, Array], Values]] = {
    "process.executable.name": Who._executable_names,
    "process.executable.path": Who._executable_paths,
    "process.command": Who._commands,
    "process.owner": Who._owners,
    "process.parent_pid": Who._parents,
}


def path_of(executable: str) -> str:
    """Give a path without the kernel's word for a file that was removed, which a new version of it does."""
    return executable.removesuffix(DELETED)


def name_of(executable: str) -> str:
    """Give the base name of an executable's path."""
    return path_of(executable).rpartition("/")[2]


_OF_PATH: Mapping[str, Callable[[str], str | None]] = {
    "sonde.systemd.unit": lambda path: unit_of(path).stable or None,
    "sonde.systemd.user_unit": lambda path: unit_of(path).user_name or None,
    "container.id": lambda path: container_of(path).id or None,
    "k8s.pod.uid": lambda path: container_of(path).pod_uid or None,
    "process.linux.cgroup": lambda path: f"0::{path}",
}


def _nobody(count: int) -> Values:
    import numpy as np

    return np.ma.masked_array(np.full(count, None, dtype=object), mask=True)
