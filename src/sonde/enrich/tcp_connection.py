"""A TCP connection in words: which side asked for it, who is at the other end, how it ended."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.enrich.address import MAPPED, endpoint

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.records.model import RecordBatch

DIRECTION, RESET = "sonde_tcp_direction_t", "sonde_tcp_reset_t"
"""Typedefs: probes/tcp/connection.bpf.h."""

DIRECTIONS = (None, "connect", "accept")
"""Names by number: enum direction, probes/tcp/connection.bpf.h."""

RESETS = (None, "sent", "received", "both")
"""Names by bits: enum reset, probes/tcp/connection.bpf.h."""


def _named(numbers: Any, names: tuple[str | None, ...]) -> npt.NDArray[Any]:
    import numpy as np

    table = np.array(names, dtype=object)
    told: npt.NDArray[Any] = table[np.minimum(np.asarray(numbers), len(names) - 1)]
    return np.ma.masked_array(told, mask=told == None)  # noqa: E711 - one by one


def with_direction(batch: RecordBatch) -> RecordBatch:
    """Name directions (``connect``: the process asked for it; ``accept``) and resets; unknown ones are masked."""
    added: dict[str, Any] = {}
    for meaning, names in ((DIRECTION, DIRECTIONS), (RESET, RESETS)):
        for column in batch.schema.having(meaning):
            added[column.name] = _named(batch[column.name], names)
    return batch.adding(added)


def with_owner(batch: RecordBatch) -> RecordBatch:
    """Mask pid and name where nobody has owned a connection: it was never accepted, or was not seen to be."""
    import numpy as np

    unknown = np.ma.filled(batch["pid"], 0) == 0
    comm = np.ma.masked_array(batch["comm"], mask=unknown)
    if "is_other" in batch.columns:
        comm[np.asarray(batch["is_other"])] = "other"
    return batch.adding({"pid": np.ma.masked_array(batch["pid"], mask=unknown), "comm": comm})


def with_version(batch: RecordBatch) -> RecordBatch:
    """Add ``ip_version``, 4 or 6; addresses must still be bytes."""
    import numpy as np

    mapped = (np.asarray(batch["peer_address"])[:, : len(MAPPED)] == np.frombuffer(MAPPED, np.uint8)).all(
        axis=1
    )
    return batch.adding({"ip_version": np.where(mapped, 4, 6).astype(np.uint8)})


def with_ends(batch: RecordBatch) -> RecordBatch:
    """Add ``peer`` (address and port in one), ``latency_ns`` and ``end``; addresses and errors must be names.

    The latency is that of the process's own step: until its connect was answered, or until it accepted. ``end`` is the
    error, or who sent a reset, or ``closed``.
    """
    import numpy as np

    peers = [
        None if address is None else endpoint(address, port)
        for address, port in zip(batch["peer_address"].tolist(), batch["peer_port"].tolist(), strict=True)
    ]
    ends = [
        error or (f"reset {reset}" if reset else "closed")
        for error, reset in zip(batch["error"].tolist(), batch["reset"].tolist(), strict=True)
    ]
    accepted = np.ma.filled(batch["direction"], "") == "accept"
    latency = np.ma.masked_array(batch["connect_ns"], copy=True)
    latency[accepted] = np.ma.masked_array(batch["accept_ns"])[accepted]
    return batch.adding(
        {
            "peer": np.array(peers, dtype=object),
            "end": np.array(ends, dtype=object),
            "latency_ns": latency,
        }
    )
