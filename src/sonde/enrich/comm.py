"""Names of processes: one for each process, the newest that the kernel noted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sonde.records.model import RecordBatch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def as_text(names: npt.NDArray[np.bytes_]) -> npt.NDArray[np.object_]:
    """Decode names (``S16``) to text, each different one once; undecodable bytes survive as surrogates."""
    import numpy as np

    different, index = np.unique(names, return_inverse=True)
    decoded = np.array([name.decode(errors="surrogateescape") for name in different.tolist()], dtype=object)
    return decoded[index] if len(decoded) else np.empty(0, dtype=object)


def with_comm(batch: RecordBatch) -> RecordBatch:
    """Decode the column comm of a stream."""
    import numpy as np

    return batch.adding({"comm": as_text(np.asarray(batch["comm"]))})


def with_newest_comm(batch: RecordBatch) -> RecordBatch:
    """Give all rows of a process (pid and start) the name in its newest row: it has changed at exec.

    Needs the columns pid, process_start_ns, first_seen_ns and comm. The row of ``other`` is named so, without pid.
    """
    import numpy as np

    if not len(batch):
        return batch.adding({"comm": np.empty(0, dtype=object)})
    pid, start = np.asarray(batch["pid"]), np.asarray(batch["process_start_ns"])
    order = np.lexsort((np.asarray(batch["first_seen_ns"]), start, pid))
    same = (pid[order][1:] == pid[order][:-1]) & (start[order][1:] == start[order][:-1])
    ends = np.flatnonzero(np.append(~same, True))
    newest = np.empty(len(batch), dtype=np.intp)
    newest[order] = order[np.repeat(ends, np.diff(ends, prepend=-1))]
    return _named(batch, as_text(np.asarray(batch["comm"]))[newest])


def with_thread_name(batch: RecordBatch) -> RecordBatch:
    """Decode the column comm of a table that is keyed by it; rows that are nobody's have no pid, and that of ``other`` is named so."""
    import numpy as np

    named = _named(batch, as_text(np.asarray(batch["comm"])))
    pid = named["pid"]
    return named.adding(
        {"pid": np.ma.masked_array(pid, mask=np.ma.getmaskarray(pid) | (np.ma.getdata(pid) == 0))}
    )


def _named(batch: RecordBatch, comm: npt.NDArray[np.object_]) -> RecordBatch:
    import numpy as np

    other = np.asarray(batch["is_other"])
    comm[other] = "other"
    return batch.adding({"comm": comm, "pid": np.ma.masked_array(np.asarray(batch["pid"]), mask=other)})
