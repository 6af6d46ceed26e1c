"""Why the kernel sent a TCP reset, by the names that the running kernel has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.enrich.each import TEXT, each_once
from sonde.enrich.kernel_enum import kernel_enum

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch

REASON = "sonde_reset_reason_t"
"""The typedef of a reason, 0 for none: probes/tcp/connection.bpf.h."""

ENUM, PREFIX = "sk_rst_reason", "SK_RST_REASON_"
"""Its numbers change from one kernel to the next; before Linux 6.10 there is none."""


def reset_reason(number: int) -> str | None:
    """Name a reason: ``TCP_ABORT_ON_CLOSE``; None where there is none."""
    if not number:
        return None
    name = kernel_enum(ENUM).get(number)
    return name.removeprefix(PREFIX) if name else f"reason {number}"


def with_reset_reason(batch: RecordBatch) -> RecordBatch:
    """Put names in the place of reasons; none is masked."""
    added: dict[str, Any] = {
        column.name: each_once(batch[column.name], reset_reason) for column in batch.schema.having(REASON)
    }
    return batch.adding(added, meanings=dict.fromkeys(added, TEXT))
