"""The flags of TCP's header, as words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.enrich.each import each_once

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch

TCP_FLAGS = "sonde_tcp_flags_t"
"""The typedef of the flags that were seen: probes/_include/types.bpf.h."""

FLAGS = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
"""Their names, from the lowest bit."""


def tcp_flags_text(flags: int) -> str | None:
    """Write flags: ``SYN,ACK``; None for none."""
    return ",".join(name for bit, name in enumerate(FLAGS) if flags >> bit & 1) or None


def with_tcp_flags(batch: RecordBatch) -> RecordBatch:
    """Put words in the place of flags; masked where there are none."""
    return batch.adding(
        {
            column.name: each_once(batch[column.name], tcp_flags_text)
            for column in batch.schema.having(TCP_FLAGS)
        }
    )
