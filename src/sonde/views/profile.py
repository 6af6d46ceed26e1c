"""What stands around a profile: how much it is of what, and which stacks do not reach their end, and why."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from sonde.records.profile import Broken, Measured, Profile
from sonde.views import cell

BROKEN_OFF, TRUNCATED = "[broken off]", "[truncated]"
REASONS = {
    BROKEN_OFF: "built without frame pointers, so callers are missing",
    TRUNCATED: "deeper than is taken down, so the outermost callers are missing",
}
HINT = "to see callers: build with -fno-omit-frame-pointer; Python: one that was built so, run with -X perf"
_NAMED = 3
"""So many binaries are named for each mark."""


def weight(measured: Measured, value: int) -> str:
    """Write a weight: ``1,188 samples``, ``12.3 ms``."""
    if measured.is_time:
        return cell.duration(value)
    return f"{value:,} sample{'s' * (value != 1)}"


def share(value: float, total: float) -> str:
    """Write a part of a whole: ``12.3 %``; what is little is not nothing."""
    if not total or not value:
        return "0 %"
    percent = 100 * value / total
    if percent < 0.005:
        return "< 0.01 %"
    return f"{percent:.2f} %" if percent < 0.995 else f"{percent:.1f} %" if percent < 99.95 else "100 %"


def origin(measured: Measured) -> list[str]:
    """Say where it was measured, and when, as far as that is known."""
    if not measured.began_ns:
        return [measured.host] if measured.host else []
    began = time.localtime(measured.began_ns // 1_000_000_000)
    return [*filter(None, [measured.host]), time.strftime("%Y-%m-%d %H:%M:%S %Z", began)]


def amounts(measured: Measured, total: int, count: int) -> list[str]:
    """Say how much was measured in which time, in a few words each."""
    found = [cell.duration(measured.duration_ns)] if measured.duration_ns else []
    if measured.is_time:
        return [*found, f"{cell.duration(total)} in all", f"{count:,} times"]
    found.append(weight(measured, total))
    if measured.duration_ns:
        found.append(f"{total / measured.duration_ns * 1e9:,.1f} a second")
    return found


def facts(profile: Profile) -> list[str]:
    """Say how much was measured, how often, and what was lost, in a few words each."""
    measured = profile.measured
    found = amounts(measured, profile.total, profile.count)
    if measured.frequency_hz and not measured.is_time:
        found.append(f"at {measured.frequency_hz:g} Hz on each CPU")
    return [*found, f"lost {measured.accounting.lost_total:,}"]


def left_out(measured: Measured, boxes: int, lightest: int) -> str:
    """Say how many boxes are left out, which are lighter than ``lightest``."""
    return f"{boxes:,} boxes lighter than {weight(measured, lightest)} are left out"


def broken_lines(profile: Profile) -> list[str]:
    """Say which share of stacks does not reach its end, by binary, and why; nothing where all do."""
    marks: dict[str, list[Broken]] = {}
    for each in profile.broken:
        marks.setdefault(each.mark, []).append(each)
    return [_broken_line(profile, mark, found) for mark, found in marks.items()]


def _broken_line(profile: Profile, mark: str, found: Sequence[Broken]) -> str:
    total = profile.total
    words = mark.strip("[]")
    line = f"{cell.text(words)} {share(sum(each.weight for each in found), total)}"
    # Who had no stack at all says nothing of a binary.
    named = [each for each in found if each.module and mark in REASONS]
    parts = [
        f"{cell.text(os.path.basename(each.module) or each.module)} {share(each.weight, total)}"
        for each in named[:_NAMED]
    ]
    if len(named) > _NAMED:
        parts.append(f"{len(named) - _NAMED:,} more {share(sum(e.weight for e in named[_NAMED:]), total)}")
    if parts:
        line += f": {', '.join(parts)}"
    return f"{line} ({REASONS[mark]})" if mark in REASONS else line


def remarks(profile: Profile) -> list[str]:
    """Give the broken lines, and what to do where frame pointers would mend it."""
    is_frameless = any(each.mark == BROKEN_OFF for each in profile.broken)
    return [*broken_lines(profile), *([HINT] if is_frameless else [])]
