"""Opening the outputs of a loaded probe as sources."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sonde.bpf.ringbuf import RingBuffer
from sonde.errors import LayoutError
from sonde.records.cells import Cells
from sonde.records.layout import record_of
from sonde.records.retirement import OWNERS, Retirement
from sonde.records.sources import Counters, StreamSource, TableSource
from sonde.records.tail import tail_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.loaded import Loaded

    Array = npt.NDArray[Any]


def open_table(
    loaded: Loaded,
    map: str,
    *,
    other: str,
    counted: tuple[str, ...],
    name: str,
    counters: Counters,
    differences: bool = False,
) -> TableSource:
    """Open a table; rows of ended processes and cgroups are retired where its key names them.

    ``other`` is the map of what found it full, if any; ``counted`` the members that make up ``aggregated``;
    ``differences`` as in TableSource.
    """
    import numpy as np

    kernel_map = loaded.maps[map]
    names = kernel_map.key_dtype.names or ()
    retirement = None
    for owner in OWNERS:
        if retirement is None and set(owner) <= set(names):
            cells = Cells.of(loaded, map)
            retirement = Retirement(kernel_map, owner=owner, cells=cells, keep=not differences)

    def count(columns: Mapping[str, Array]) -> Array:
        parts = [columns[each].reshape(len(columns[each]), -1).sum(axis=1) for each in counted]
        total: Array = np.add.reduce(parts)
        return total

    return TableSource(
        kernel_map,
        name=name,
        counters=counters,
        count=count,
        other=loaded.maps[other] if other else None,
        retirement=retirement,
        differences=differences,
    )


def open_stream(loaded: Loaded, map: str, *, name: str, counters: Counters) -> StreamSource:
    """Open a stream; raises LayoutError when the object does not say what its records are."""
    record = record_of(loaded.btf, map) if loaded.btf is not None else None
    if record is None:
        hint = "declare it with RECORD_STREAM, and compile with -g"
        raise LayoutError(f"open stream {name}", why="the object does not tell its records' type", hint=hint)
    ring = RingBuffer(loaded.maps[map], record=None if tail_of(record) else record)
    return StreamSource(ring, record, name=name, counters=counters)
