"""One value as a person reads it, and as a machine does."""

from __future__ import annotations

import functools
import time
from typing import Any

from sonde.records.rfc3339 import rfc3339

__all__ = ["UNKNOWN", "clock", "count", "duration", "number", "numbers", "percent", "rfc3339", "size", "text"]

UNKNOWN = "-"

_DURATIONS = ((1, "ns"), (1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s"))
_SIZES = ((1, "B"), (1 << 10, "KiB"), (1 << 20, "MiB"), (1 << 30, "GiB"), (1 << 40, "TiB"))
_POINTER_LIKE = 1 << 32


def duration(ns: float) -> str:
    """Write nanoseconds in three digits: ``812 ns``, ``12.3 µs``, ``1.25 s``, ``5m 12s``."""
    seconds = round(ns / 1e9)
    if seconds >= 3600:
        return f"{seconds // 3600}h {seconds % 3600 // 60:02}m"
    if seconds >= 100:
        return f"{seconds // 60}m {seconds % 60:02}s"
    return _scaled(ns, _DURATIONS)


def size(count: float) -> str:
    """Write bytes in three digits: ``12.5 KiB``."""
    return _scaled(count, _SIZES)


def _scaled(value: float, units: tuple[tuple[int, str], ...]) -> str:
    for (factor, unit), larger in zip(units, (*units[1:], None), strict=True):
        digits = _three_digits(value / factor, is_whole=factor == 1 and value == int(value))
        # 999.7 ns rounds to 1000, which is 1 µs.
        if larger is None or float(digits) * factor < larger[0]:
            return f"{digits} {unit}"
    raise AssertionError("the last unit takes every value")


def _three_digits(value: float, *, is_whole: bool) -> str:
    decimals = 0 if is_whole or abs(value) >= 99.95 else 1 if abs(value) >= 9.995 else 2
    return f"{value:.{decimals}f}"


def count(number: float) -> str:
    """Write a number with separators: ``1,234,567``."""
    return f"{number:,.0f}" if isinstance(number, float) else f"{number:,}"


def percent(share: float) -> str:
    """Write a share of one: ``12.3 %``."""
    return f"{100 * share:.1f} %"


def number(value: float) -> str:
    """Write a result: what can only be an address or a mask in hexadecimal."""
    return f"{value:#x}" if isinstance(value, int) and value >= _POINTER_LIKE else f"{value}"


def numbers(values: Any) -> str:
    """Write a call's arguments: small ones decimal, addresses and masks in hexadecimal."""
    return ", ".join(f"{value:#x}" if value >= 1 << 16 else str(value) for value in values)


def text(value: Any) -> str:
    """Write text that a terminal may be given: what a process calls itself must not move the cursor."""
    words = str(value)
    if words.isprintable():
        return words
    # Bytes that were no UTF-8 came through as surrogates, which cannot be written.
    return "".join(each if each.isprintable() else _escaped(each) for each in words)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def clock(time_ns: int, *, digits: int = 0) -> str:
    """Write a time of day here: ``14:03:22``, with up to nine digits of a second's fraction."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    whole = _clock_of(seconds)
    return f"{whole}.{rest:09}"[: len(whole) + 1 + digits] if digits else whole


# A stream's records come many to a second.
@functools.lru_cache(maxsize=8)
def _clock_of(seconds: int) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
