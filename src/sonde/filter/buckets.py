"""The token buckets of rate limits: one shared by those without their own, and the full ones taken away."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from sonde.filter.rate import Rate

if TYPE_CHECKING:
    from sonde.bpf.map import Map

FULL_SHARE = 0.5
"""From this share of the room on, buckets that have filled up are taken away: a new one would be as full."""

KEY = np.dtype([("address", "u8", (2,)), ("slot", "u4"), ("ip_version", "u4")])
BUCKET = np.dtype([("last_ns", "u8"), ("packets", "u8"), ("bytes", "u8"), ("lock", "u4"), ("padding", "u4")])


def add_shared(buckets: Map, rates: Mapping[int, Rate]) -> None:
    """Make, for each slot, the bucket of all sources that find no room; before its program runs."""
    for slot, rate in rates.items():
        key = np.zeros(1, dtype=KEY)
        key["slot"] = slot
        bucket = np.zeros(1, dtype=BUCKET)
        bucket["last_ns"] = time.clock_gettime_ns(time.CLOCK_MONOTONIC)
        bucket["packets"] = rate.packets.full if rate.packets else 0
        bucket["bytes"] = rate.bytes.full if rate.bytes else 0
        buckets.update_bytes(key.tobytes(), bucket.tobytes())


def remove_of(buckets: Map, slots: frozenset[int]) -> None:
    """Take away all buckets of rules that are no more."""
    if slots:
        keys, _ = _read(buckets)
        buckets.delete_many(keys[np.isin(keys["slot"], list(slots))].view(buckets.key_dtype))


def sweep(buckets: Map, rates: Mapping[int, Rate], now_ns: int) -> None:
    """Make room where it gets short: take away buckets that have been left alone until they were full again.

    ``now_ns`` is CLOCK_MONOTONIC's, as programs read it.

    A packet that takes from one at this very moment is forgotten: a source may then send its burst again, once.
    """
    keys, values = _read(buckets)
    if len(keys) < buckets.max_entries * FULL_SHARE:
        return
    # A second more than it takes: who sends all the time has a bucket that is never so old.
    ages = np.int64(now_ns) - values["last_ns"].astype(np.int64)
    needed = np.full(len(keys), np.iinfo(np.int64).max)
    for slot, rate in rates.items():
        fill_ns = max(bucket.fill_ns for bucket in (rate.packets, rate.bytes) if bucket is not None)
        needed[keys["slot"] == slot] = min(fill_ns, 1 << 62) + 1_000_000_000
    old = (ages > needed) & (keys["ip_version"] != 0)
    buckets.delete_many(keys[old].view(buckets.key_dtype))


def _read(buckets: Map) -> tuple[np.ndarray[tuple[int], np.dtype[np.void]], np.ndarray[tuple[int], np.dtype[np.void]]]:  # fmt: skip
    keys, values, count = buckets.read_bytes()
    return np.frombuffer(keys, dtype=KEY, count=count), np.frombuffer(values, dtype=BUCKET, count=count)
