"""Users: names by number, from the machine's files and whatever else its name service asks."""

from __future__ import annotations

import functools
import pwd
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from sonde.enrich.each import each_once

if TYPE_CHECKING:
    from sonde.records.model import Values

USERS_MAX = 4096
KNOWN_FOR_S, UNKNOWN_FOR_S = 600.0, 60.0
"""How long an answer holds: names change seldom, and a user that is made should soon have one."""


def _ask(uid: int) -> str | None:
    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError, ValueError):
        return None


class Users:
    """Names of users, remembered for a time; ``count_max`` bounds the memory. A user without a name is its number.

    The name service may be slow, and is asked once for a user in ten minutes.
    """

    def __init__(
        self,
        ask: Callable[[int], str | None] = _ask,
        *,
        count_max: int = USERS_MAX,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._ask, self._count_max, self._clock_s = ask, count_max, clock_s
        self._known: dict[int, tuple[str | None, float]] = {}

    def name(self, uid: int) -> str:
        """Name a user."""
        now = self._clock_s()
        name, until = self._known.get(uid, (None, 0.0))
        if until <= now:
            name = self._ask(uid)
            self._known.pop(uid, None)
            self._known[uid] = (name, now + (KNOWN_FOR_S if name is not None else UNKNOWN_FOR_S))
            while len(self._known) > self._count_max:
                del self._known[next(iter(self._known))]
        return str(uid) if name is None else name

    def names(self, uids: Values) -> Values:
        """Name many, each different one once."""
        return each_once(uids, self.name)


@functools.cache
def machine_users() -> Users:
    """Give the one that all share."""
    return Users()
