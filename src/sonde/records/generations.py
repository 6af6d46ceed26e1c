"""Tables of stacks in two generations: programs write one of them, while the other is read and emptied."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde.records.differences import as_bytes
from sonde.records.kept_rows import ROWS_MAX, KeptRows
from sonde.records.layout import columns_of
from sonde.records.stacks import KERNEL_STACK, USER_STACK, StackTable

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.bpf.loaded import Loaded
    from sonde.bpf.map import Map

    Array = npt.NDArray[Any]

STACKS = (USER_STACK, KERNEL_STACK)
FIRST = bytes(4)
"""The key of an array's first entry."""

OWNERS = ("pid", "process_start_ns")
"""Members of a key that say whose a row is."""

Apart = Callable[["Array", "Array", "Array"], "Array"]
"""Gives numbers to user stacks, from the processes of rows, their times and the numbers that they have."""
ByName = Callable[["Array", "Array", "Array", "Array"], "Array"]
"""The same, from the numbers of the kernel's stacks, too."""


@dataclass(frozen=True, slots=True)
class Numbering:
    """Numbers of user stacks other than by address: ``apart`` where other code was at the same ones, and one ``by_name``.

    With the latter rows of many processes can be one row.
    """

    apart: Apart
    by_name: ByName


class GenerationRows:
    """Reads a table of stacks (stack.bpf.h) whole at each read, and leaves nothing of it in the kernel.

    A read flips the generation, so that programs that begin from now on write to the other one; waits until those that
    began before have ended; and reads and empties what nobody writes any more. So nothing that is live is deleted, and the
    kernel holds what came since the last read, however long the run is.

    The rows are kept here, cumulative, within a bound (KeptRows); with ``keep`` off each is given once (``ended``), for
    readers that take differences. ``stacks`` gets the addresses; where it is None nobody has a use for them. ``numbering`` tells
    user stacks apart that have the same addresses; with it rows beyond the bound lose whose they are before they lose their stacks.
    """

    def __init__(
        self,
        maps: Mapping[str, Map],
        table: str,
        *,
        weight: str,
        keep: bool = True,
        stacks: StackTable | None = None,
        numbering: Numbering | None = None,
    ) -> None:
        import numpy as np

        even, odd = maps[table], maps[f"{table}_odd"]
        assert even.shape.key_type is not None, "packaged objects have BTF"
        assert even.shape.value_type is not None, "packaged objects have BTF"
        self._rows = (even, odd)
        self._stacks = (maps[f"{table}_stacks"], maps[f"{table}_odd_stacks"])
        self._generation = maps[f".data.{table}"]
        self._barrier, self._barrier_entry = maps[f"{table}_barrier"], maps[f"{table}_barrier_entry"]
        self.columns = columns_of(even.shape.value_type)
        self._named = [each.name for each in columns_of(even.shape.key_type) if each.meaning in STACKS]
        self._addresses, self._numbering = stacks, numbering
        self._kept: KeptRows | None = None
        if keep:
            together = self._without_owners if numbering is not None else None
            self._kept = KeptRows(
                even.key_dtype,
                even.value_dtype,
                self.columns,
                weight=weight,
                rows_max=ROWS_MAX,
                together=together,
            )
        self.folded: Array = np.empty(0, even.value_dtype)
        self.ended: Array = np.empty(0, np.void)
        self.used = 0

    @staticmethod
    def is_of(loaded: Loaded, table: str) -> bool:
        """Tell whether a table has generations, by the names of its maps."""
        return f"{table}_odd_stacks" in loaded.maps

    def read(self, *, is_last: bool = False) -> tuple[Array, Array]:
        """Read what was counted since the last read, and give all rows."""
        old = self._flip()
        keys, values = self._rows[old].to_numpy()
        self.used = len(keys)
        self._take_stacks(self._stacks[old])
        if len(keys):
            self._rows[old].delete_many(keys)
        if self._kept is None:
            self.ended = as_bytes(keys)
            return keys, values
        if self._numbering is not None and len(keys):
            keys = keys.copy()
            keys["user_stack"] = self._numbering.apart(
                keys["pid"], values["first_seen_ns"], keys["user_stack"]
            )
        self._kept.add(keys, values)
        self.folded = self._kept.folded
        kept_keys, kept_values = self._kept.rows()
        if self._addresses is not None:
            self._addresses.trim(lambda: self._named_by(kept_keys))
        return kept_keys, kept_values

    def _without_owners(self, keys: Array, values: Array) -> Array:
        """Give rows the keys that those of all processes have which are in stacks of the same names."""
        assert self._numbering is not None, "it is asked for with one"
        keys = keys.copy()
        keys["user_stack"] = self._numbering.by_name(
            keys["pid"], values["first_seen_ns"], keys["user_stack"], keys["kernel_stack"]
        )
        for name in OWNERS:
            keys[name] = 0
        return keys

    def _named_by(self, keys: Array) -> set[int]:
        """Give the numbers of the stacks that rows name."""
        return {number for name in self._named for number in keys[name].tolist()}

    def _flip(self) -> int:
        """Have programs write the other generation, wait until none writes this one, and give its number."""
        now = int.from_bytes(self._generation.lookup_bytes(FIRST) or FIRST, sys.byteorder) & 1
        self._generation.update_bytes(FIRST, (now ^ 1).to_bytes(4, sys.byteorder))
        # An update of a map of maps waits for all programs that run (Linux 5.0, commit 1ae80cf31938), also where
        # membarrier(2) cannot (nohz_full=).
        self._barrier.update_bytes(FIRST, self._barrier_entry.fd.to_bytes(4, sys.byteorder))
        return now

    def _take_stacks(self, stacks: Map) -> None:
        import numpy as np

        keys, values = stacks.to_numpy()
        if not len(keys):
            return
        if self._addresses is not None:
            numbers, depths, addresses = keys.tolist(), values["depth"].tolist(), values["addresses"]
            found = zip(addresses, depths, strict=True)
            self._addresses.add(numbers, (np.array(each[:depth]) for each, depth in found))
        stacks.delete_many(keys)
