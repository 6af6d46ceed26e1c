"""Who has woken a thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.enrich.comm import as_text

if TYPE_CHECKING:
    from sonde.records.model import RecordBatch

INTERRUPT = "interrupt"
"""In the place of the idle task, which wakes nobody: an interrupt did, on a CPU that had nothing to do."""
IDLE = b"swapper/"
"""How the names of idle tasks begin: each CPU has one."""


def with_waker(batch: RecordBatch) -> RecordBatch:
    """Decode ``waker_comm``; it is unknown where nobody was asked for, or seen, and so is ``waker_pid``."""
    import numpy as np

    raw = np.asarray(batch["waker_comm"])
    unknown, is_interrupt = raw == b"", np.char.startswith(raw, IDLE)
    names = as_text(raw)
    names[is_interrupt] = INTERRUPT
    return batch.adding(
        {
            "waker_comm": np.ma.masked_array(names, mask=unknown),
            "waker_pid": np.ma.masked_array(batch["waker_pid"], mask=unknown | is_interrupt),
        }
    )
