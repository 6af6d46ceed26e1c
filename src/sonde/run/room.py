"""How many entries the maps of an output get, and whether they may get them one by one."""

from __future__ import annotations

import errno
import functools
from collections.abc import Iterable, Mapping
from typing import Any

from sonde.bpf import trial
from sonde.bpf.map.memory import Sized, memory_bytes
from sonde.errors import KernelError
from sonde.probe import Stream, Table

SHARES = {"cells": (1, 1), "free": (1, 0), "odd": (1, 0), "stacks": (2, 0), "odd_stacks": (2, 0)}
"""What goes with a table's rows, by the end of its map's name: so many entries for each row, and so many beside.

A row has a cell (of which number 0 is none), and two stacks; the odd generation has as much as the other one."""

AVAILABLE_SHARE = 0.5


def entries_of(
    output: Table | Stream, values: Mapping[str, Any], *, max_entries: int | None, cpus: int
) -> dict[str, int]:
    """Give the sizes of maps by name; of those that are not in it nobody says anything but the object.

    ``max_entries`` is what somebody asks for, ``values`` are the knobs, ``cpus`` those of the machine.
    """
    rows = max_entries
    if rows is None and isinstance(output, Table) and output.rows is not None:
        rows = output.rows(cpus, values)
    if rows is None:
        return {}
    shares = {f"{output.map}_{name}": rows * each + more for name, (each, more) in SHARES.items()}
    return {output.map: rows, **shares}


def check_room(maps: Iterable[Sized], cpus: int) -> None:
    """Raise KernelError (ENOMEM) where maps would take more than half of the memory that is available.

    The kernel would try: that takes minutes in which it heeds no signal, and what others need.
    """
    wanted = sum(memory_bytes(each, cpus) for each in maps)
    if wanted > AVAILABLE_SHARE * _available_bytes():
        raise KernelError(
            errno.ENOMEM,
            operation="make maps",
            subject=f"of {wanted / 1e9:,.1f} GB",
            hint="ask for fewer entries",
        )


def _available_bytes() -> int:
    with open("/proc/meminfo", encoding="ascii") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith("MemAvailable:"))


@functools.cache
def can_grow() -> bool:
    """Tell whether hashes that tracing programs use may take memory row by row: ``maps_on_demand``, tried once.

    (``sonde.bpf.features`` tries the same; it costs each process that measures 2 ms and 0.4 MB to import.)
    """
    try:
        trial.map_on_demand("perf_event")
    except (OSError, trial.AbsentError):
        return False
    return True
