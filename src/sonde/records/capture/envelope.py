"""What stands around the records of one reading."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from sonde.records.accounting import Accounting
from sonde.records.capture.kind import Buffer

COUNT_MAX = (1 << 64) - 1


class Figures(msgspec.Struct, frozen=True, omit_defaults=True):
    """An accounting as JSON."""

    seen: int = 0
    delivered: int = 0
    aggregated: int = 0
    filtered: int = 0
    sampled_out: int = 0
    lost: dict[str, int] = {}
    in_flight: int = 0
    notes: dict[str, int] = {}
    final: bool = False


_DECODER = msgspec.json.Decoder(Figures)


def encode_accounting(accounting: Accounting) -> bytes:
    """Write an accounting; zeros are left out but for the causes of losses."""
    fields = {name: getattr(accounting, name) for name in Figures.__struct_fields__}
    fields |= {"lost": _plain(accounting.lost), "notes": _plain(accounting.notes)}
    return msgspec.json.encode(Figures(**fields))


def decode_accounting(raw: bytes) -> Accounting:
    """Read an accounting; raises ValueError."""
    figures = _DECODER.decode(raw)
    if not all(name.isidentifier() for name in (*figures.lost, *figures.notes)):
        raise ValueError("a figure has no name that can be")
    found = msgspec.structs.asdict(figures)
    if not all(abs(figure) <= COUNT_MAX for figure in _figures(found)):
        raise ValueError("a figure is too large")
    return Accounting(**found)


def _plain(counts: Mapping[str, Any]) -> dict[str, int]:
    # The kernel's counters may still be NumPy's numbers.
    return {name: int(count) for name, count in counts.items()}


def _figures(found: Mapping[str, Any]) -> Iterable[int]:
    for value in found.values():
        if isinstance(value, dict):
            yield from value.values()
        else:
            yield value


def checksum(
    seed: int,
    output: bytes,
    *,
    time_ns: int,
    scale: int,
    accounting: bytes,
    rows: int,
    buffers: Iterable[Buffer],
) -> int:
    """Sum up a reading (CRC-32), so that a flipped bit is noticed; ``seed`` is the header's."""
    found = zlib.crc32(struct.pack("<qqq", time_ns, scale, rows), seed)
    for part in (output, accounting, *buffers):
        if part is not None:
            found = zlib.crc32(part, found)
    return found
