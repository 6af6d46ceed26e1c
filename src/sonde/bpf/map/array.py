"""Arrays: every index is always there."""

from __future__ import annotations

import operator
from typing import Any, NoReturn

from sonde.bpf.map.hash import HashMap
from sonde.errors import SondeError


class ArrayMap(HashMap):
    """An array, as a dictionary from index to value; an index beyond the end raises KeyError."""

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

    def __delitem__(self, key: Any) -> NoReturn:
        raise SondeError(f"delete from map {self.name}", why="an array keeps all its entries")

    def clear(self) -> None:
        """Write zeros over every entry."""
        zero = bytes(self.stride_bytes)
        for index in range(self.max_entries):
            self.update_bytes(index.to_bytes(4, "little"), zero)
