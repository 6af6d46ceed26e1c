"""Moments as RFC 3339 writes them, for every text that a machine reads."""

from __future__ import annotations

import functools
import time


def rfc3339(time_ns: int) -> str:
    """Write a moment in UTC, to the nanosecond: ``2026-07-01T12:00:00.000000123Z``."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    return f"{_date_of(seconds)}.{rest:09}Z"


# A stream's records come many to a second.
@functools.lru_cache(maxsize=8)
def _date_of(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
