"""systemd's units: the service, scope or slice that a cgroup's path tells."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from sonde.enrich.container import container_of

_UNIT = re.compile(r"_?(?P<name>[^/]+\.(?:service|scope|socket|mount|swap))")
_SLICE = re.compile(r"_?(?P<name>[^/]+\.slice)")
_USER_MANAGER = re.compile(r"user@[0-9]+\.service")
_SESSION = re.compile(r"session-[^/]+\.scope")


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit as systemd's journal names it; empty where there is none.

    ``name`` is the system's unit (user@1000.service for all that a user's own systemd runs), ``user_name`` that of
    the user's, ``slice`` the innermost slice around ``name``.
    """

    name: str = ""
    user_name: str = ""
    slice: str = ""

    @property
    def stable(self) -> str:
        """The name that stays the same from one day to the next: sessions are numbered, their slice is not."""
        if not self.name or _SESSION.fullmatch(self.name):
            return self.slice
        return self.name


@functools.lru_cache(maxsize=4096)
def unit_of(path: str) -> Unit:
    """Find the unit of a cgroup: slices first, then the unit, then what the unit made below it.

    A container's scope is the container and no unit, and the slice around it is the pod's or all containers'. systemd
    puts an underscore before names that the kernel has given to files.
    """
    slice_name, unit, below = _first_unit([part for part in path.split("/") if part])
    if not unit and container_of(path).id:
        return Unit()
    user = ""
    if _USER_MANAGER.fullmatch(unit):
        _, user, _ = _first_unit(below)
    return Unit(unit, user, slice_name)


def _first_unit(parts: list[str]) -> tuple[str, str, list[str]]:
    slice_name = ""
    for at, part in enumerate(parts):
        found = _SLICE.fullmatch(part)
        if found:
            slice_name = found["name"]
            continue
        unit = _UNIT.fullmatch(part)
        if unit is None or container_of(f"/{part}").id:
            return slice_name, "", parts[at + 1 :]
        return slice_name, unit["name"], parts[at + 1 :]
    return slice_name, "", []
