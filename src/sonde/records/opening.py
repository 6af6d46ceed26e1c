"""Opening the outputs of a loaded probe as sources."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from sonde.bpf.ringbuf import RingBuffer
from sonde.errors import LayoutError
from sonde.records.block_rows import BlockRows, blocks_of
from sonde.records.cell_rows import CellRows
from sonde.records.cells import Cells
from sonde.records.generations import GenerationRows, Numbering
from sonde.records.layout import columns_of, record_of
from sonde.records.retirement import OWNERS, Retirement
from sonde.records.sources import Counters, Rows, StreamSource, TableSource
from sonde.records.stacks import StackTable
from sonde.records.tail import tail_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.loaded import Loaded

    Array = npt.NDArray[Any]

WINDOW_BYTES = 256 << 10
"""Of a stream's ring so much is mapped at a time: rings are of megabytes, for bursts, and would be resident whole."""


def open_table(
    loaded: Loaded,
    map: str,
    *,
    other: str,
    counted: tuple[str, ...],
    name: str,
    counters: Counters,
    differences: bool = False,
    weight: str = "",
    stacks: StackTable | None = None,
    numbering: Numbering | None = None,
    histograms: bool = True,
) -> TableSource:
    """Open a table; rows of ended processes and cgroups are retired where its key names them, idle ones where it has cells only.

    One of stacks is read out at each read: what is then kept is bounded, and the rows of the largest ``weight`` stay;
    ``stacks`` gets the addresses, ``numbering`` tells apart which are the same, and which have the same names.

    ``other`` is the map of what found it full, if any; ``counted`` the members that make up ``aggregated``;
    ``differences`` and ``histograms`` as in TableSource.
    """
    generations: GenerationRows | None = None
    if GenerationRows.is_of(loaded, map):
        generations = GenerationRows(
            loaded.maps,
            map,
            weight=weight or counted[0],
            keep=not differences,
            stacks=stacks,
            numbering=numbering,
        )
    return TableSource(
        loaded.maps[map],
        name=name,
        counters=counters,
        count=partial(_count_of, counted),
        other=loaded.maps[other] if other else None,
        rows=generations or _rows(loaded, map, keep=not differences),
        differences=differences,
        histograms=histograms,
    )


def _count_of(counted: tuple[str, ...], columns: Mapping[str, Array]) -> Array:
    """Add up what was counted of each row."""
    import numpy as np

    total: Array = np.add.reduce(
        [columns[each].reshape(len(columns[each]), -1).sum(axis=1) for each in counted]
    )
    return total


def _rows(loaded: Loaded, map: str, *, keep: bool) -> Rows | None:
    """Choose what reads a table's rows, by its names; None where reading its map is all."""
    table, blocks, cells = loaded.maps[map], blocks_of(loaded, map), Cells.of(loaded, map)
    assert table.shape.value_type is not None, "packaged objects have BTF"
    if cells is not None and not columns_of(table.shape.value_type):
        return CellRows(table, cells, generation=loaded.maps.get(f".data.{map}"), keep=keep)
    if blocks is not None:
        return BlockRows(table, blocks)
    names = set(table.key_dtype.names or ())
    owner = next((owner for owner in OWNERS if names.issuperset(owner)), None)
    return Retirement(table, owner=owner, cells=cells, keep=keep) if owner is not None else None


def open_stream(loaded: Loaded, map: str, *, name: str, counters: Counters) -> StreamSource:
    """Open a stream; raises LayoutError when the object does not say what its records are."""
    record = record_of(loaded.btf, map) if loaded.btf is not None else None
    if record is None:
        hint = "declare it with RECORD_STREAM, and compile with -g"
        raise LayoutError(f"open stream {name}", why="the object does not tell its records' type", hint=hint)
    ring = RingBuffer(loaded.maps[map], record=None if tail_of(record) else record, window_bytes=WINDOW_BYTES)
    return StreamSource(ring, record, name=name, counters=counters)
