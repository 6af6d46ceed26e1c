"""Internet addresses, from their bytes: those of IPv4 as such, though the kernel maps them into IPv6."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

from sonde.enrich.each import each_once

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch, Values

ADDRESS = "sonde_address_t"
"""The typedef of an address of 16 bytes: probes/_include/types.bpf.h."""

MAPPED = bytes(10) + b"\xff\xff"
"""What stands before an address of IPv4: RFC 4291, 2.5.5.2."""


def address_text(address: bytes) -> str:
    """Write an address of 16 bytes: ``192.0.2.1``, ``2001:db8::1``."""
    if address.startswith(MAPPED):
        return socket.inet_ntop(socket.AF_INET, address[len(MAPPED) :])
    return socket.inet_ntop(socket.AF_INET6, address)


def as_words(column: Any) -> Values:
    """Give addresses, an array of shape (n, 16), as text; each different one is written once."""
    import numpy as np

    packed = np.ascontiguousarray(np.asarray(column)).view(np.dtype((np.void, 16))).reshape(-1)
    return each_once(packed, address_text)


def with_addresses(batch: RecordBatch) -> RecordBatch:
    """Put text in the place of addresses; the row of all others has none."""
    import numpy as np

    added: dict[str, Any] = {}
    for column in batch.schema.having(ADDRESS):
        added[column.name] = words = as_words(batch[column.name])
        if "is_other" in batch.columns:
            words[np.asarray(batch["is_other"])] = np.ma.masked
    return batch.adding(added)


def endpoint(address: str, port: int) -> str:
    """Write an address with a port: ``192.0.2.1:80``, ``[2001:db8::1]:80``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
