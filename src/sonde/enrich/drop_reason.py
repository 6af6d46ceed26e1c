"""Why the kernel dropped a packet, by the names that the running kernel has for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.enrich.each import TEXT, each_once
from sonde.enrich.kernel_enum import kernel_enum

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch

REASON = "sonde_drop_reason_t"
"""The typedef of a reason: probes/drops/drop.bpf.h."""

UNKNOWN = 2**32 - 1
"""Kernels before Linux 5.17 tell none."""

SUBSYSTEM_SHIFT = 16
"""Reasons below 1 << 16 are the core's; above stands the number of a subsystem, below the subsystem's own (6.4)."""

CORE, CORE_PREFIX = "skb_drop_reason", "SKB_DROP_REASON_"
SUBSYSTEMS, SUBSYSTEMS_PREFIX = "skb_drop_reason_subsys", "SKB_DROP_REASON_SUBSYS_"

ENUMS = {
    "OPENVSWITCH": ("openvswitch", "ovs_drop_reason"),
    "MAC80211_UNUSABLE": ("mac80211", "mac80211_drop_reason"),
}
"""Subsystem → the module with its reasons, and their enumeration."""


def drop_reason(number: int) -> str | None:
    """Name a reason: ``NO_SOCKET``, ``OVS_DROP_LAST_ACTION``; None where the kernel told none.

    Without a name it is the number: ``reason 77``, ``openvswitch reason 3``, ``subsystem 9 reason 3``.
    """
    if number == UNKNOWN:
        return None
    subsystem, own = number >> SUBSYSTEM_SHIFT, number & (1 << SUBSYSTEM_SHIFT) - 1
    if not subsystem:
        name = kernel_enum(CORE).get(number)
        return name.removeprefix(CORE_PREFIX) if name else f"reason {number}"
    word = kernel_enum(SUBSYSTEMS).get(subsystem)
    if word is None:
        return f"subsystem {subsystem} reason {own}"
    word = word.removeprefix(SUBSYSTEMS_PREFIX)
    module, enum = ENUMS.get(word, ("", ""))
    names = (kernel_enum(enum) or kernel_enum(enum, module)) if enum else {}
    return names.get(number, f"{module or word.lower()} reason {own}")


def with_drop_reason(batch: RecordBatch) -> RecordBatch:
    """Put names in the place of reasons; masked where the kernel told none."""
    added: dict[str, Any] = {
        column.name: each_once(batch[column.name], drop_reason) for column in batch.schema.having(REASON)
    }
    return batch.adding(added, meanings=dict.fromkeys(added, TEXT))
