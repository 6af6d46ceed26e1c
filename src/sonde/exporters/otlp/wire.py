"""Protocol buffers by the thousand: what opentelemetry-proto's messages look like on the wire, for columns of values.

A message for each point takes Python 5 to 9 µs, the same bytes from NumPy 0.4 (docs/dependencies.md): most of a point
is fields of eight bytes, the rest is the same from one export to the next. Numbers and types of fields come from
opentelemetry-proto's descriptors, whatever there is one of in a request is encoded by its messages, and the tests
decode all of it with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from sonde.exporters.varint import varint

if TYPE_CHECKING:
    import numpy.typing as npt
    from google.protobuf.message import Message

    Array = npt.NDArray[Any]

EIGHT_BYTES = {
    FieldDescriptor.TYPE_FIXED64: "<u8",
    FieldDescriptor.TYPE_SFIXED64: "<i8",
    FieldDescriptor.TYPE_DOUBLE: "<f8",
}
VARINTS = {
    FieldDescriptor.TYPE_BOOL,
    FieldDescriptor.TYPE_ENUM,
    FieldDescriptor.TYPE_INT32,
    FieldDescriptor.TYPE_INT64,
    FieldDescriptor.TYPE_SINT32,
    FieldDescriptor.TYPE_UINT32,
    FieldDescriptor.TYPE_UINT64,
}
FRAMED = {FieldDescriptor.TYPE_MESSAGE, FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES}

FRAME_BYTES_MAX = 6
"""What a frame adds to its content at most: a tag, and the length of up to 2**35 bytes."""


def tag(message: type[Message], field: str) -> bytes:
    """Give the bytes before a field's value: its number and how it is encoded."""
    found = message.DESCRIPTOR.fields_by_name[field]
    kind = 1 if found.type in EIGHT_BYTES else 0 if found.type in VARINTS else 2
    assert kind or found.type in VARINTS
    assert kind != 2 or found.type in FRAMED
    return varint(found.number << 3 | kind)


def framed(tag_bytes: bytes, content: bytes) -> bytes:
    """Encode a field that says its own length: a message or a text."""
    return tag_bytes + varint(len(content)) + content


def framed_each(tag_bytes: bytes, contents: Iterable[bytes]) -> list[bytes]:
    """Encode such a field for each content; their lengths are few."""
    heads: dict[int, bytes] = {}
    found = []
    for content in contents:
        length = len(content)
        head = heads.get(length)
        if head is None:
            head = heads[length] = tag_bytes + varint(length)
        found.append(head + content)
    return found


class EightByteFields:
    """Fields of eight bytes each (fixed64, sfixed64, double), for many messages of one type at once."""

    def __init__(self, message: type[Message], *fields: str) -> None:
        kinds = message.DESCRIPTOR.fields_by_name
        self._tags = {field: tag(message, field) for field in fields}
        assert all(len(each) == 1 for each in self._tags.values()), "numbers below 16"
        layout = [
            pair
            for field in fields
            for pair in ((f"{field}.tag", "u1"), (field, EIGHT_BYTES[kinds[field].type]))
        ]
        self._dtype = np.dtype(layout)
        self.size_bytes = self._dtype.itemsize

    def encode(self, count: int, /, **values: Any) -> list[bytes]:
        """Encode the fields of ``count`` messages; a value is an array, or the same for all."""
        rows = np.empty(count, self._dtype)
        for field, each in self._tags.items():
            rows[f"{field}.tag"] = each[0]
            rows[field] = values[field]
        found: list[bytes] = rows.view(f"V{self.size_bytes}").tolist()
        return found


def varints(values: Array, *, prefix: bytes = b"", frames: Sequence[bytes] = ()) -> list[bytes]:
    """Encode whole numbers as int64, each after ``prefix``; ``frames`` are tags of messages around that, the inner last.

    Numbers from 2**63 on come out as negative ones of the same bits: there is no uint64 in OpenTelemetry's values.
    """
    bits = (
        values.astype(np.int64, copy=False).view(np.uint64)
        if values.dtype.kind == "i"
        else values.astype(np.uint64)
    )
    lengths = np.ones(len(bits), np.intp)
    for groups in range(1, 10):
        lengths += bits >= np.uint64(1 << 7 * groups)
    found = np.empty(len(bits), object)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        head = _heads(prefix, frames, length)
        encoded = np.empty((len(rows), len(head) + length), np.uint8)
        encoded[:, : len(head)] = np.frombuffer(head, np.uint8)
        shifts = np.arange(length, dtype=np.uint64) * np.uint64(7)
        groups_of = (bits[rows, None] >> shifts).astype(np.uint8) & np.uint8(0x7F)
        groups_of[:, :-1] |= np.uint8(0x80)
        encoded[:, len(head) :] = groups_of
        found[rows] = encoded.view(f"V{encoded.shape[1]}")[:, 0].tolist()
    texts: list[bytes] = found.tolist()
    return texts


def _heads(prefix: bytes, frames: Sequence[bytes], length: int) -> bytes:
    """Give what stands before a number of so many bytes; every frame holds all that comes after its length."""
    head = prefix
    for each in reversed(frames):
        head = each + varint(len(head) + length) + head
    return head
