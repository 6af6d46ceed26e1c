"""Hashes: dictionaries in the kernel."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from typing import Any

from sonde.bpf.map.map import Map


class HashMap(Map, MutableMapping[Any, Any]):
    """A map with keys that come and go, as a dictionary: hash, LRU hash, and others of their shape.

    A missing key raises KeyError. Iteration, ``items`` and ``len`` read the whole map once, by batches, and are
    a snapshot.
    """

    def decode_value(self, raw: bytes | memoryview) -> Any:
        """Decode what one entry's value takes in a system call."""
        return self.value_codec.decode(raw)

    def encode_value(self, value: Any) -> bytes:
        """Encode one entry's value for a system call."""
        return self.value_codec.encode(value)

    def decode_key(self, raw: bytes | memoryview) -> Any:
        """Decode a key."""
        return self.key_codec.decode(raw)

    def encode_key(self, key: Any) -> bytes:
        """Encode a key."""
        return self.key_codec.encode(key)

    def __getitem__(self, key: Any) -> Any:
        raw = self.lookup_bytes(self.encode_key(key))
        if raw is None:
            raise KeyError(key)
        return self.decode_value(raw)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update_bytes(self.encode_key(key), self.encode_value(value))

    def __delitem__(self, key: Any) -> None:
        if not self.delete_bytes(self.encode_key(key)):
            raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        return self.lookup_bytes(self.encode_key(key)) is not None

    def _pairs(self) -> Iterator[tuple[memoryview, memoryview]]:
        keys, values, count = self.read_bytes()
        key_size, stride = self.key_size, self.stride_bytes
        for at in range(count):
            yield keys[at * key_size : (at + 1) * key_size], values[at * stride : (at + 1) * stride]

    def __iter__(self) -> Iterator[Any]:
        return (self.decode_key(key) for key, _ in self._pairs())

    def __len__(self) -> int:
        return self.read_bytes()[2]

    def items(self) -> ItemsView[Any, Any]:
        """Read all entries once."""
        return {self.decode_key(key): self.decode_value(value) for key, value in self._pairs()}.items()

    def values(self) -> ValuesView[Any]:
        """Read all values once."""
        return dict(enumerate(self.decode_value(value) for _, value in self._pairs())).values()

    def clear(self) -> None:
        """Delete every key that is there now."""
        for key, _ in self._pairs():
            self.delete_bytes(bytes(key))

    # A map is a resource, not a value: two are equal only if they are the same one.
    __eq__ = object.__eq__
    __hash__ = object.__hash__
