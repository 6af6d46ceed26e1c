"""When to try again: what receivers ask for, and how long to wait where they do not."""

from __future__ import annotations

import random
import time
from email.utils import parsedate_to_datetime


class Backoff:
    """Waits between failed attempts: twice as long each time, less a random part, so that agents do not come at once."""

    def __init__(self, *, initial_s: float, max_s: float, asked_max_s: float) -> None:
        self._initial_s, self._max_s, self._asked_max_s = initial_s, max_s, asked_max_s
        self._failures = 0

    def reset(self) -> None:
        """Begin again, after a delivery."""
        self._failures = 0

    def after_failure_s(self, asked_s: float | None) -> float:
        """Give how long to wait now: what the receiver asked for, within bounds, or the next step."""
        step_s = min(self._max_s, self._initial_s * 2.0 ** min(self._failures, 32))
        self._failures += 1
        if asked_s is not None:
            return min(asked_s, self._asked_max_s)
        return step_s * random.uniform(0.5, 1.0)


def retry_after_s(header: str | None) -> float | None:
    """Read ``Retry-After``: seconds, or a date (RFC 9110, 10.2.3); None where it says nothing that can be read."""
    text = (header or "").strip()
    if text.isascii() and text.isdigit():
        # More digits than any time has.
        return float(text[:12])
    try:
        moment_s = parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return max(0.0, moment_s - time.time())
