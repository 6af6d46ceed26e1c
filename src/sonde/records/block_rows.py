"""Tables that each CPU counts in a block of its own, in memory that the programs address directly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sonde.bpf.dtype import dtype_of
from sonde.bpf.map.map import possible_cpus
from sonde.records.layout import columns_of
from sonde.records.merge import merged

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.knob import Global
    from sonde.bpf.loaded import Loaded
    from sonde.bpf.map import Map

    Array = npt.NDArray[Any]


class BlockRows:
    """Reads a table whose first rows have slots in each CPU's block, and whose others are in a hash.

    The global variable ``TABLE_blocks`` is an array of structs, one for each CPU up to its length: ``seen``, and
    ``slots`` with the ``key`` (0: free) and the members of the hash's values. A slot is never given away, so what is
    read only grows.
    """

    def __init__(self, table: Map, blocks: Global) -> None:
        import numpy as np

        assert table.shape.value_type is not None, "packaged objects have BTF"
        self._table, self._blocks = table, blocks
        self.columns = columns_of(table.shape.value_type)
        self.folded: Array = np.empty(0, table.value_dtype)
        self.ended: Array = np.empty(0, np.void)
        self.used = 0

    def read(self, *, is_last: bool = False) -> tuple[Array, Array]:
        """Read all rows, each once."""
        import numpy as np

        slots = _blocks_of(self._blocks)["slots"].reshape(-1)
        slots = slots[slots["key"] != 0]
        keys, values = self._table.to_numpy()
        self.used = len(slots) + len(keys)
        counted = np.zeros(len(slots), values.dtype)
        for column in self.columns:
            counted[column.name] = slots[column.name]
        named = np.ascontiguousarray(slots["key"]).view(keys.dtype)
        return merged(np.concatenate([named, keys]), np.concatenate([counted, values]), self.columns)


def blocks_of(loaded: Loaded, table: str) -> Global | None:
    """Find a table's blocks by their name; None where it has none."""
    found: Global | None = loaded.variables.get(f"{table}_blocks")
    return found


def seen_in(blocks: Global) -> int:
    """Add up what the CPUs have seen."""
    return int(_blocks_of(blocks)["seen"].sum())


def _blocks_of(blocks: Global) -> Array:
    """Copy the blocks of the CPUs that there may be."""
    import numpy as np

    kind = dtype_of(blocks.type, blocks.size)
    assert kind.subdtype is not None, "it is an array"
    return np.frombuffer(blocks.read_bytes(), kind.subdtype[0])[: possible_cpus()]
