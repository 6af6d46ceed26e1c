"""Durations as people write them: ``500ms``, ``5s``, ``2m``, ``1h``; a plain number is seconds."""

from __future__ import annotations

UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
LONGEST_NS = 2**63 - 1


def duration_ns(text: str) -> int:
    """Read a duration in nanoseconds; raises ValueError with what is valid."""
    stripped = text.strip()
    number = stripped.rstrip("abcdefghijklmnopqrstuvwxyzµ")
    unit = stripped[len(number) :] or "s"
    try:
        amount = float(number)
    except ValueError:
        amount = -1.0
    if unit not in UNITS_NS or not 0 <= amount * UNITS_NS.get(unit, 1) <= LONGEST_NS:
        raise ValueError(f"{text!r} is no duration: write 500ms, 5s, 2m or 1h (units: {', '.join(UNITS_NS)})")
    return round(amount * UNITS_NS[unit])


def duration_s(text: str) -> float:
    """Read a duration in seconds; raises ValueError with what is valid."""
    return duration_ns(text) / 1e9
