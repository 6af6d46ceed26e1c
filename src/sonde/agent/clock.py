"""The wall clock, watched: somebody may set it while counters run."""

from __future__ import annotations

import time
from collections.abc import Callable

STEP_MIN_NS = 500_000_000
"""Less is how NTP slews a clock, and no step."""


class Clock:
    """Compares the wall clock with one that nobody can set."""

    def __init__(
        self, wall_ns: Callable[[], int] = time.time_ns, steady_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._wall_ns, self._steady_ns = wall_ns, steady_ns
        self._ahead_ns = wall_ns() - steady_ns()

    def step_ns(self) -> int:
        """Give how far the wall clock was set since this was last asked, 0 if it was not: negative is back."""
        ahead_ns = self._wall_ns() - self._steady_ns()
        step_ns = ahead_ns - self._ahead_ns
        # Many small steps are one in the end: what was below the bound is kept for the next time.
        if abs(step_ns) < STEP_MIN_NS:
            return 0
        self._ahead_ns = ahead_ns
        return step_ns
