"""Opening the outputs of a loaded probe as sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.bpf.ringbuf import RingBuffer
from sonde.errors import LayoutError
from sonde.records.retirement import Retirement
from sonde.records.sources import Counters, StreamSource, TableSource

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.object import Object
    from sonde.probe import Stream, Table

    Array = npt.NDArray[Any]


def open_table(loaded: Object, table: Table, *, name: str, counters: Counters) -> TableSource:
    """Open a table; rows of ended processes are retired where its key names a process."""
    kernel_map = loaded.maps[table.map]
    pid, start = "pid", "process_start_ns"
    names = kernel_map.key_dtype.names or ()
    retirement = None
    if pid in names and start in names:
        retirement = Retirement(kernel_map, pid=pid, start_ns=start, rows_max=kernel_map.max_entries)

    def count(columns: Mapping[str, Array]) -> Array:
        return sum(columns[each].reshape(len(columns[each]), -1).sum(axis=1) for each in table.counted)  # type: ignore[return-value]

    return TableSource(
        kernel_map,
        name=name,
        counters=counters,
        count=count,
        other=loaded.maps[table.other] if table.other else None,
        retirement=retirement,
    )


def open_stream(loaded: Object, stream: Stream, *, name: str, counters: Counters) -> StreamSource:
    """Open a stream; raises LayoutError when the object has no struct of the record's name."""
    btf = loaded.btf
    if btf is None:
        raise LayoutError(f"open stream {name}", why="the object has no BTF", hint="compile it with -g")
    record = btf.find(stream.record)
    ring = RingBuffer(loaded.maps[stream.map], record=record)
    return StreamSource(ring, record, name=name, counters=counters)
