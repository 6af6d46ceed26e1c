"""Folded stacks, one a line, as FlameGraph's ``stackcollapse-perf.pl --all`` writes them and ``flamegraph.pl`` reads them."""

from __future__ import annotations

from collections import Counter

from sonde.exporters.text import visible
from sonde.records.frames import INLINED, INTERPRETED, KERNEL
from sonde.records.profile import Profile

ANNOTATIONS = {KERNEL: "_[k]", INLINED: "_[i]", INTERPRETED: "_[j]"}
"""What FlameGraph's palettes (``--color java``) tell kinds of frames by."""


def folded(profile: Profile) -> bytes:
    """Write ``thread;outermost;…;innermost weight``: samples, or nanoseconds; equal stacks of all processes are one line."""
    names = [plain(each.name) + ANNOTATIONS.get(each.kind, "") for each in profile.frames]
    lines: Counter[str] = Counter()
    for stack in profile.stacks:
        lines[";".join([plain(stack.comm), *(names[frame] for frame in stack.frames)])] += stack.weight
    return "".join(f"{line} {weight}\n" for line, weight in sorted(lines.items())).encode()


def plain(text: str) -> str:
    """Give a name that ends neither its frame nor its line."""
    return visible(text).replace(";", ":")
