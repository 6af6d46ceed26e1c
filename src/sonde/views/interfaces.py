"""Interfaces as lines: how a probe is on each, those alike together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

NAMES_MAX = 6
"""So many interfaces that are alike are named."""


def interface_lines(described: Sequence[Mapping[str, Any]], waiting: Sequence[str] = ()) -> list[str]:
    """Write what ``Run.describe`` tells of interfaces; ``waiting`` are patterns that match none."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for each in described:
        alike.setdefault((each["ingress"], each["egress"], each["note"]), []).append(each["interface"])
    lines = [interface_line(names, *key) for key, names in alike.items()]
    lines += [f"{pattern}: no interface has such a name yet" for pattern in waiting]
    return lines or ["there is none of the chosen interfaces"]


def interface_line(names: Sequence[str], ingress: str, egress: str, note: str) -> str:
    """Write how some interfaces are attached, or why not."""
    return f"{_names(names)}: {_how(ingress, egress, note)}"


def _how(ingress: str, egress: str, note: str) -> str:
    if ingress and ingress == egress:
        words = f"in and out by {ingress}"
    else:
        words = ", ".join(f"{way} by {by}" for way, by in (("in", ingress), ("out", egress)) if by)
    if not words:
        return f"not attached: {note}"
    return f"{words}; {note}" if note else words


def _names(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMES_MAX} more" if len(names) > NAMES_MAX else ""
    return f"{', '.join(names[:NAMES_MAX])}{more}"
