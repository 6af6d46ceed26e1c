"""Arrays: of values, which are always there, and of slots, which may be empty."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

from sonde.bpf.map.hash import HashMap
from sonde.errors import SondeError


class ArrayMap(HashMap):
    """An array, as a dictionary from index to value; an index beyond the end raises KeyError."""

    _full = ()

    def encode_key(self, key: Any) -> bytes:
        index = operator.index(key)
        if not 0 <= index < self.max_entries:
            raise KeyError(key)
        return index.to_bytes(4, "little")

    def decode_key(self, raw: bytes | memoryview) -> int:
        return int.from_bytes(raw, "little")

    def __contains__(self, key: object) -> bool:
        return isinstance(key, int) and 0 <= key < self.max_entries

    def __len__(self) -> int:
        return self.max_entries

    def __delitem__(self, key: Any) -> None:
        raise SondeError(f"delete from map {self.name}", why="an array keeps all its entries")

    def clear(self) -> None:
        """Write zeros over every entry."""
        zero = bytes(self.stride_bytes)
        for index in range(self.max_entries):
            self.update_bytes(index.to_bytes(4, "little"), zero)


class SlotMap(ArrayMap):
    """An array whose slots may be empty: an empty one raises KeyError, ``del`` empties one, ``len`` counts the others.

    Its values stand for things in the kernel: interfaces, CPUs and sockets (devmap, cpumap, sockmap) are as BTF says.
    """

    __delitem__ = HashMap.__delitem__
    __contains__ = HashMap.__contains__
    clear = HashMap.clear

    def _pairs(self) -> Iterator[tuple[memoryview, memoryview]]:
        for index in range(self.max_entries):
            key = index.to_bytes(4, "little")
            value = self.lookup_bytes(key)
            if value is not None:
                yield memoryview(key), memoryview(value)

    def __len__(self) -> int:
        return sum(1 for _ in self._pairs())
