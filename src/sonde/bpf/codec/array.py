"""Codecs of arrays: tuples of values, and ``u8[]`` as bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from typing import Any

from sonde.bpf.codec.codec import Buffer, Codec
from sonde.bpf.codec.integer import int_from
from sonde.bpf.codec.text import BytesCodec, fitting


class ArrayCodec(Codec):
    """An array as a tuple, so that it can be part of a map's key.

    Encoded from any iterable that is not longer; as with C's initialisers, what is missing is zero.
    """

    loads = stores = True

    def __init__(self, element: Codec, count: int) -> None:
        """Take ``count`` elements."""
        size = element.size * count
        super().__init__(_label(element, count), size, f"{size}s")
        self.element = element
        self.count = count
        self.weight = max(1, count * element.weight)
        # struct makes the whole tuple, if an element is a number that it knows.
        plain = not element.loads and not element.code.endswith("s")
        self._all = struct.Struct(f"={count}{element.code}") if plain else None

    @property
    def valid(self) -> str:
        """How many, and of what."""
        return f"{self.label} of up to {self.count}, each {self.element.valid}"

    def load(self, item: Buffer) -> tuple[Any, ...]:
        """Decode every element."""
        if self._all is not None:
            return self._all.unpack(item)
        element = self.element
        if element.size == 0:
            return tuple(element.decode(b"") for _ in range(self.count))
        size = element.size
        return tuple([element.decode(item[at : at + size]) for at in range(0, self.size, size)])

    def decode(self, data: Buffer) -> tuple[Any, ...]:
        """Turn exactly ``size`` bytes into a tuple; LayoutError for any other number of bytes."""
        if memoryview(data).nbytes != self.size:
            raise self._wrong_size(data)
        return self.load(data)

    def store(self, value: Any) -> bytes:
        """Encode every element, and zeros for those that are missing."""
        if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
            raise TypeError(f"{value!r} is no list: {self.label} takes up to {self.count} values")
        values = list(value)
        if len(values) > self.count:
            raise ValueError(f"{len(values)} values do not fit: {self.label} takes {self.count}")
        if self._all is not None and not self.element.stores and len(values) == self.count:
            try:
                return self._all.pack(*values)
            except (struct.error, OverflowError):
                pass  # The loop below finds out which one it was.
        return b"".join([self._encode(at, each) for at, each in enumerate(values)])

    def parse(self, text: str) -> list[Any]:
        """Read elements that commas separate; nothing is an empty list."""
        if isinstance(self.element, ArrayCodec):
            return super().parse(text)  # type: ignore[no-any-return]  # it raises
        return [self.element.parse(part.strip()) for part in text.split(",")] if text.strip() else []

    def _encode(self, at: int, value: Any) -> bytes:
        try:
            return self.element.encode(value)
        except TypeError as error:
            raise TypeError(f"[{at}]: {error}") from None
        except ValueError as error:
            raise ValueError(f"[{at}]: {error}") from None


class ByteArrayCodec(BytesCodec):
    """``u8[]`` as bytes, encoded from bytes or ints that may be fewer; what is missing is zero."""

    def __init__(self, size: int) -> None:
        """Take ``size`` bytes."""
        super().__init__(size, label=f"u8[{size}]")

    @property
    def valid(self) -> str:
        """How many."""
        return f"{self.label} of up to {self.size}, each u8 0..255"

    def store(self, value: Any) -> bytes:
        """Check the length."""
        if isinstance(value, (bytes, bytearray, memoryview)):
            return fitting(bytes(value), self.size, self.label)
        if isinstance(value, (str, Mapping)) or not isinstance(value, Iterable):
            raise TypeError(f"{value!r} is not bytes: {self.label} takes bytes or up to {self.size} ints")
        try:
            data = bytes(list(value))
        except (TypeError, ValueError):
            raise ValueError(f"{value!r} is not bytes: {self.label} takes ints of 0..255") from None
        return fitting(data, self.size, self.label)

    def parse(self, text: str) -> bytes:
        """Read numbers that commas separate; nothing is an empty array."""
        return self.store([int_from(part, self.valid) for part in text.split(",")] if text.strip() else [])


def _label(element: Codec, count: int) -> str:
    # C writes the outermost dimension first: an array of two char[16] is char[2][16].
    name, bracket, inner = element.label.partition("[")
    return f"{name}[{count}]{bracket}{inner}"
