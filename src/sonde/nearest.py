"""The names that somebody may have meant: for messages about one that is not known."""

from __future__ import annotations

from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """Give the known names that are most like ``name``, the nearest first; none if nothing is like it."""
    # 20 ms to import, and only a mistake needs it.
    import difflib

    return difflib.get_close_matches(name, list(known), count)
