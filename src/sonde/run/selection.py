"""Whose events count: a selection, and what a probe's programs are told of it."""

from __future__ import annotations

import errno
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sonde.enrich.descendants import descendants
from sonde.errors import KernelError, KnobError
from sonde.probe import Probe, Selection

if TYPE_CHECKING:
    from sonde.bpf.object import Object

ONLY_CGROUP = "only_cgroup_id"
INITIAL_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h


def checked(selection: Selection, probe: Probe) -> Selection:
    """Give the selection back; raises KnobError where the probe cannot select so."""
    if not isinstance(selection, Selection):
        why = f"{selection!r} is no selection"
        raise KnobError(f"select for probe {probe.name}", why=why, hint="give a sonde.Selection")
    others = Selection(interfaces=selection.interfaces, exclude_interfaces=selection.exclude_interfaces)
    if probe.on_interfaces and replace(selection, own=False) != others:
        why = "it counts what passes interfaces, of whichever process"
        raise KnobError(f"select processes for probe {probe.name}", why=why, hint="select interfaces")
    if not probe.selects_processes and replace(selection, own=False) != others:
        raise KnobError(f"select processes for probe {probe.name}", why="its events are no process's doing")
    if not probe.on_interfaces and others != Selection():
        why = "it is on no interface"
        raise KnobError(f"select interfaces for probe {probe.name}", why=why, hint="select processes")
    return selection


def globals_of(chosen: Selection, *, own_pid: int) -> dict[str, Any]:
    """Give the globals that say whose events count; sonde's own are those of ``own_pid`` and of this process."""
    values = dict[str, Any]()
    values["own_pid"] = 0 if chosen.own else own_pid
    values["own_loader_pid"] = os.getpid()
    values["only_pid"] = (chosen.pid or 0) if not chosen.children else 0
    values["only_followed"] = chosen.pid is not None and chosen.children
    values["only_cgroup"] = chosen.cgroup is not None
    values["only_comm"] = chosen.comm is not None
    if chosen.comm is not None:
        values["comm"] = chosen.comm
    namespace = os.stat("/proc/self/ns/pid").st_ino
    values["pidns_inum"] = 0 if namespace == INITIAL_PID_NAMESPACE else namespace
    return values


def fill_filters(loaded: Object, chosen: Selection) -> None:
    """Write into a loaded probe's maps and variables what a selection has beside the globals."""
    if chosen.cgroup is not None:
        loaded.maps["cgroups"][0] = chosen.cgroup  # type: ignore[index]
        # Only the current task can be looked for in a map of cgroups: others go by the number, task.bpf.h.
        if ONLY_CGROUP in loaded.variables:
            loaded.variables[ONLY_CGROUP].value = os.stat(chosen.cgroup).st_ino
    if chosen.pid is not None and chosen.children:
        _follow(loaded, chosen.pid)


def _follow(loaded: Object, first: int) -> None:
    """Have a process followed, and all that it has started and that runs: those for whom there is no room are counted."""
    unfollowed = 0
    for pid in descendants(first):
        try:
            loaded.maps["followed"][pid] = 0  # type: ignore[index]
        except KernelError as error:
            if error.errno != errno.E2BIG:
                raise
            unfollowed += 1
    if unfollowed:
        loaded.variables["unfollowed"].value += unfollowed
