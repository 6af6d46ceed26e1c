"""How fast is too fast: ``100/s``, ``1MB/s burst 2MB``, and the token bucket that it makes for each source.

A bucket counts in units of time so that nothing is ever rounded: a packet costs the period (a second: 1,000,000,000), and
every nanosecond brings as many units as there may be packets in the period.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from sonde.duration import UNITS_NS

PERIODS = ("s", "m", "h")
SIZES_BYTES = {
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
}
LEVEL_MAX = 1 << 62
"""What a bucket may hold, in units: a 64-bit counter that cannot overflow when a bucket is filled."""
COUNT_MAX = 1 << 40
BURST_MIN_BYTES = 9216
"""The least that a bucket for bytes holds unless it is told: a frame larger than the bucket would never pass."""

_RATE = re.compile(
    r"(?P<count>\d{1,13})\s*(?P<size>[a-z]*)\s*/\s*(?P<period>[a-z]+)(?:\s+burst\s+(?P<burst>\d{1,13})\s*(?P<burst_size>[a-z]*))?"
)
EXAMPLE = "'100/s', '1MB/s' or '100/s burst 200'"


@dataclass(frozen=True, slots=True)
class Bucket:
    """So many packets, or bytes, in a period, and so many at once."""

    count: int
    period_ns: int
    burst: int

    @property
    def full(self) -> int:
        """Give the level of a full bucket, in units."""
        return self.burst * self.period_ns

    @property
    def fill_ns(self) -> int:
        """Give the time in which an empty bucket is full again."""
        return -(-self.full // self.count)


@dataclass(frozen=True, slots=True)
class Rate:
    """What a source may send: packets, bytes, or both; ``text`` is how it was written."""

    packets: Bucket | None
    bytes: Bucket | None
    text: str

    def __str__(self) -> str:
        return self.text


def read_rate(text: str) -> Rate:
    """Read one or two rates, separated by a comma; raises ValueError with what is valid."""
    found: dict[str, Bucket] = {}
    for part in text.lower().split(","):
        kind, bucket = _bucket(part.strip(), text)
        if kind in found:
            raise ValueError(f"{text!r} has two rates of {kind}: give one of packets, one of bytes, or both")
        found[kind] = bucket
    return Rate(found.get("packets"), found.get("bytes"), " ".join(text.split()))


def _bucket(part: str, text: str) -> tuple[str, Bucket]:
    match = _RATE.fullmatch(part)
    if match is None or not match[0].isascii():
        raise ValueError(f"{text!r} is no rate: give {EXAMPLE}")
    if match["period"] not in PERIODS:
        raise ValueError(f"{text!r} is no rate: a period is {', '.join(PERIODS)}, as in {EXAMPLE}")
    period_ns = UNITS_NS[match["period"]]
    count = _amount(match["count"], match["size"], text)
    is_bytes = bool(match["size"])
    burst = max(1, count if match["period"] == "s" else count * UNITS_NS["s"] // period_ns)
    if is_bytes:
        burst = max(burst, BURST_MIN_BYTES)
    if match["burst"]:
        if bool(match["burst_size"]) != is_bytes:
            raise ValueError(f"{text!r} is no rate: rate and burst are both packets or both bytes")
        burst = _amount(match["burst"], match["burst_size"], text)
    bucket = Bucket(count, period_ns, burst)
    if not 0 < count <= COUNT_MAX or not burst > 0 or bucket.full > LEVEL_MAX:
        raise ValueError(
            f"{text!r} cannot be: rate and burst are above 0, and a burst is {LEVEL_MAX // period_ns:,} at most"
        )
    return ("bytes" if is_bytes else "packets"), bucket


def _amount(digits: str, size: str, text: str) -> int:
    if size and size not in SIZES_BYTES:
        raise ValueError(
            f"{text!r} is no rate: there is no unit {size!r}: valid: B, KB, MB, GB, KiB, MiB, GiB"
        )
    return int(digits) * SIZES_BYTES.get(size, 1)
