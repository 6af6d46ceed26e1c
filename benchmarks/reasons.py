"""Why sonde loses where it does: looked into by hand, one reason for a part and a figure."""

from __future__ import annotations

REASONS: dict[tuple[str, str], str] = {}


def why(part: str, key: str) -> str:
    """Give the reason, or say that nobody has looked."""
    return REASONS.get((part, key), "Why has not been looked into.")
