"""Which interfaces a selection means: by name, pattern or number, now and whenever one comes or is renamed."""

from __future__ import annotations

import fnmatch
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from sonde.bpf.link.interface import Interface, interfaces, no_such_interface
from sonde.errors import AttachError
from sonde.probe import Selection

WILD = frozenset("*?[")


def is_pattern(interface: str | int) -> bool:
    """Tell whether it may mean several interfaces, or one that is not there yet."""
    return isinstance(interface, str) and bool(WILD & set(interface))


@dataclass(frozen=True, slots=True)
class Choice:
    """Interfaces by name, pattern or number; all but loopback where none is given.

    What was named exactly stays chosen under whatever name it gets; what matches a pattern does while it matches.
    """

    wanted: tuple[str | int, ...]
    excluded: tuple[str | int, ...]

    @classmethod
    def of(cls, selection: Selection) -> Choice:
        """Take a selection's."""
        return cls(selection.interfaces, selection.exclude_interfaces)

    def require(self, here: Sequence[Interface]) -> None:
        """Raise AttachError, with the nearest names, where one that was named exactly is not there."""
        for each in self.wanted:
            if not is_pattern(each) and _index_of(each, here) is None:
                why, hint = no_such_interface(each, (one.name for one in here))
                raise AttachError("select interfaces", why=why, hint=hint)

    def named(self, here: Sequence[Interface]) -> frozenset[int]:
        """Give the numbers of those that are named exactly."""
        found = (_index_of(each, here) for each in self.wanted if not is_pattern(each))
        return frozenset(index for index in found if index is not None)

    def idle(self, here: Sequence[Interface]) -> tuple[str, ...]:
        """Give the patterns that match nothing now."""
        return tuple(
            str(each)
            for each in self.wanted
            if is_pattern(each) and not any(_matches(each, one, here) for one in here)
        )

    def takes(self, one: Interface, here: Sequence[Interface], *, is_named: bool = False) -> bool:
        """Tell whether an interface is chosen; ``is_named`` if it was by the exact name that it had."""
        if any(_matches(each, one, here) for each in self.excluded):
            return False
        if not self.wanted:
            return not one.is_loopback
        return is_named or any(_matches(each, one, here) for each in self.wanted)


def require_interfaces(wanted: Sequence[str | int]) -> None:
    """Raise AttachError, with the nearest names, where an interface that is named exactly is not there."""
    Choice(tuple(wanted), ()).require(interfaces())


def _matches(wanted: str | int, one: Interface, here: Sequence[Interface]) -> bool:
    if is_pattern(wanted):
        return fnmatch.fnmatchcase(one.name, str(wanted))
    return _index_of(wanted, here) == one.index


def _index_of(wanted: str | int, here: Sequence[Interface]) -> int | None:
    """Find what is meant by a name or number: digits may be either."""
    by_name = {each.name: each.index for each in here}
    if wanted in by_name:
        return by_name[str(wanted)]
    indexes = set(by_name.values())
    if isinstance(wanted, int) or wanted.isdecimal():
        return int(wanted) if int(wanted) in indexes else None
    try:
        # Interfaces have other names, too (ip link property add altname), which no listing shows.
        index = socket.if_nametoindex(wanted)
    except OSError:
        return None
    return index if index in indexes else None
