"""Columns as nanoarrow's arrays, for what is written."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import nanoarrow
from nanoarrow.ipc import StreamWriter

from sonde.records.capture.kind import BOOL, BYTES, TEXT, TIME, Buffer, Kind


def type_of(kind: Kind) -> Any:
    """Give Arrow's type."""
    if kind.type == TEXT:
        return nanoarrow.string()
    if kind.type == BYTES:
        return nanoarrow.fixed_size_binary(kind.width)
    if kind.type == BOOL:
        return nanoarrow.bool_()
    if kind.type == TIME:
        return nanoarrow.timestamp("ns", timezone="UTC")
    number = getattr(nanoarrow, kind.type)()
    return nanoarrow.fixed_size_list(number, kind.list_size) if kind.list_size else number


def array_of(type_: Any, length: int, buffers: Sequence[Buffer], *children: Any) -> Any:
    """Make an array of buffers; the children are given away."""
    return nanoarrow.c_array_from_buffers(type_, length, buffers, children=children, move=bool(children))


def column_array(kind: Kind, length: int, buffers: Sequence[Buffer]) -> Any:
    """Make the array of a column of its buffers, as ``buffers_of`` gives them."""
    if not kind.list_size:
        return array_of(type_of(kind), length, buffers)
    items = array_of(type_of(Kind(kind.type)), length * kind.list_size, buffers[1:])
    return array_of(type_of(kind), length, buffers[:1], items)


def struct_of(kinds: Mapping[str, Kind]) -> Any:
    """Give the type of records."""
    return nanoarrow.struct({name: type_of(kind) for name, kind in kinds.items()})


class StreamBytes:
    """Turns arrays of one schema into the bytes of an Arrow IPC stream, message by message."""

    def __init__(self, schema: Any) -> None:
        self._out = io.BytesIO()
        self._writer = StreamWriter.from_writable(self._out)
        self._schema = schema

    def batch(self, array: Any) -> bytes:
        """Give a batch's bytes; the first has the schema's before it."""
        self._writer.write_stream(array)
        return self._given()

    def schema(self) -> bytes:
        """Give the schema's bytes alone, before the first batch."""
        self._writer.write_stream(nanoarrow.Array.from_chunks([], self._schema))
        return self._given()

    def end(self) -> bytes:
        """Give the end mark."""
        self._writer.close()
        return self._given()

    def _given(self) -> bytes:
        found = self._out.getvalue()
        self._out.seek(0)
        self._out.truncate()
        return found
