"""Arrow's messages, read with every offset checked: what is in a file may be anybody's.

The format: the Apache Arrow columnar format, "Encapsulated message format", and its Message.fbs and Schema.fbs. Libraries
for it trust what they read, and crash at a flipped bit.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

CONTINUATION = b"\xff\xff\xff\xff"
SCHEMA, BATCH = 1, 3
"""MessageHeader in Message.fbs."""

METADATA_BYTES_MAX = 1 << 20
BODY_BYTES_MAX = 1 << 30
_PIECE_BYTES = 1 << 20


class DamagedError(ValueError):
    """What was read is no message, or contradicts itself."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message: ``type`` says what ``header`` is."""

    type: int
    header: Table
    body: memoryview


def read_message(file: BinaryIO) -> Message | None:
    """Read the next message, None at the end mark; raises EOFError when it is cut short, DamagedError.

    No more is allocated than the file has.
    """
    start = read_exactly(file, 8)
    if start[:4] != CONTINUATION:
        raise DamagedError("there is no message where one should begin")
    (size,) = struct.unpack("<i", start[4:])
    if size == 0:
        return None
    if not 0 < size <= METADATA_BYTES_MAX:
        raise DamagedError("a message has no size that can be")
    try:
        message = Table.root(read_exactly(file, size))
        body_bytes = message.number(3, "<q", 0)
        if not 0 <= body_bytes <= BODY_BYTES_MAX:
            raise DamagedError("a message's body has no size that can be")
        header = message.table(2)
        type_ = message.number(1, "<B", 0)
    except (struct.error, IndexError) as error:
        raise DamagedError("a message points outside of itself") from error
    return Message(type_, header, memoryview(read_exactly(file, body_bytes)))


def read_exactly(file: BinaryIO, size: int) -> bytes:
    """Read so many bytes, in pieces; raises EOFError."""
    pieces = []
    while size:
        piece = file.read(min(size, _PIECE_BYTES))
        if not piece:
            raise EOFError
        pieces.append(piece)
        size -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


@dataclass(frozen=True, slots=True)
class Table:
    """A table of flatbuffers; raises struct.error or IndexError for what lies outside."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> Table:
        """Find the outermost table."""
        return cls(data, struct.unpack_from("<I", data)[0])

    def _field(self, slot: int) -> int | None:
        """Find where a field is; None where it has its default."""
        vtable = self.at - struct.unpack_from("<i", self.data, self.at)[0]
        if vtable < 0:
            raise IndexError(vtable)
        (size,) = struct.unpack_from("<H", self.data, vtable)
        place = 4 + 2 * slot
        offset = struct.unpack_from("<H", self.data, vtable + place)[0] if place + 2 <= size else 0
        return self.at + offset if offset else None

    def has(self, slot: int) -> bool:
        """Tell whether a field is there."""
        return self._field(slot) is not None

    def number(self, slot: int, form: str, default: int) -> int:
        """Give a number."""
        at = self._field(slot)
        return default if at is None else int(struct.unpack_from(form, self.data, at)[0])

    def _reference(self, slot: int) -> int:
        at = self._field(slot)
        if at is None:
            raise IndexError(slot)
        return at + int(struct.unpack_from("<I", self.data, at)[0])

    def table(self, slot: int) -> Table:
        """Give a table that a field refers to."""
        return Table(self.data, self._reference(slot))

    def _vector(self, slot: int, item_bytes: int) -> tuple[int, int]:
        at = self._reference(slot)
        (count,) = struct.unpack_from("<I", self.data, at)
        if at + 4 + count * item_bytes > len(self.data):
            raise IndexError(count)
        return at + 4, count

    def pairs(self, slot: int) -> list[tuple[int, int]]:
        """Give a vector of structs of two numbers."""
        start, count = self._vector(slot, 16)
        return list(struct.iter_unpack("<qq", self.data[start : start + 16 * count]))

    def tables(self, slot: int) -> list[Table]:
        """Give a vector of tables."""
        start, count = self._vector(slot, 4)
        places = range(start, start + 4 * count, 4)
        return [Table(self.data, at + struct.unpack_from("<I", self.data, at)[0]) for at in places]

    def text(self, slot: int) -> bytes:
        """Give a string's bytes."""
        start, size = self._vector(slot, 1)
        return self.data[start : start + size]


@dataclass(slots=True)
class Buffers:
    """The buffers of a record batch, one after the other."""

    places: list[tuple[int, int]]
    body: memoryview
    taken: int = 0

    def take(self, size: int | None) -> memoryview:
        """Give the next, cut to a size (None: whole); raises DamagedError where it is smaller or lies outside."""
        if self.taken >= len(self.places):
            raise DamagedError("buffers are missing")
        offset, length = self.places[self.taken]
        self.taken += 1
        if offset < 0 or length < 0 or offset + length > len(self.body):
            raise DamagedError("a buffer lies outside of its message")
        if size is None:
            return self.body[offset : offset + length]
        if length < size:
            raise DamagedError("a buffer is too short")
        return self.body[offset : offset + size]


def metadata_of(schema: Table) -> dict[bytes, bytes]:
    """Give a schema's metadata; raises DamagedError."""
    try:
        return {each.text(0): each.text(1) for each in schema.tables(2)} if schema.has(2) else {}
    except (struct.error, IndexError) as error:
        raise DamagedError("its schema points outside of itself") from error


def batch_of(message: Message) -> tuple[list[tuple[int, int]], Buffers]:
    """Give a record batch's nodes (length, nulls) and buffers; raises DamagedError, for compressed ones too."""
    try:
        if message.header.has(3):
            raise DamagedError("it is compressed, which sonde's captures are not")
        return message.header.pairs(1), Buffers(message.header.pairs(2), message.body)
    except (struct.error, IndexError) as error:
        raise DamagedError("a batch points outside of itself") from error
