"""Sizes as people write them: ``100MB``, ``64KiB``, ``4096``; a plain number is bytes."""

from __future__ import annotations

UNITS_BYTES = {
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
    "TIB": 2**40,
}
LARGEST_BYTES = 2**63 - 1
WRITTEN = ("TB", "TiB", "GB", "GiB", "MB", "MiB", "KB", "KiB", "B")


def size_bytes(text: str) -> int:
    """Read a size in bytes; raises ValueError with what is valid."""
    stripped = text.strip()
    number = stripped.rstrip("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
    unit = stripped[len(number) :].upper() or "B"
    try:
        amount = float(number)
    except ValueError:
        amount = -1.0
    if unit not in UNITS_BYTES or not 0 <= amount * UNITS_BYTES.get(unit, 1) <= LARGEST_BYTES:
        raise ValueError(
            f"{text!r} is no size: write 100MB, 64KiB or 4096 (units: {', '.join(reversed(WRITTEN))})"
        )
    return round(amount * UNITS_BYTES[unit])


def size_text(size: int) -> str:
    """Write a size with the largest unit that leaves a whole number: ``100MB``."""
    for unit in WRITTEN:
        if size and size % UNITS_BYTES[unit.upper()] == 0:
            return f"{size // UNITS_BYTES[unit.upper()]}{unit}"
    return "0B"
