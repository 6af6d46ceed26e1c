"""Writing a capture: one file, a sink for each output in it."""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import nanoarrow

from sonde.errors import LayoutError, SondeError, errno_text
from sonde.records.capture.arrow import StreamBytes, array_of, column_array, struct_of, type_of
from sonde.records.capture.envelope import checksum, encode_accounting
from sonde.records.capture.header import KEY, Header, OutputHeader
from sonde.records.capture.kind import Buffer, Kind, buffers_of
from sonde.records.capture.message import BODY_BYTES_MAX, METADATA_BYTES_MAX
from sonde.records.capture.stacks import NUMBER, StackNumbers
from sonde.records.capture.text import Encoded
from sonde.records.model import RecordBatch, Schema

if TYPE_CHECKING:
    from sonde.records.accounting import Accounting

ENVELOPE = {
    "output": nanoarrow.string(),
    "time": type_of(Kind("time")),
    "scale": nanoarrow.int64(),
    "accounting": nanoarrow.string(),
    "checksum": nanoarrow.uint32(),
}


class CaptureWriter:
    """A capture that is being written to a descriptor, which the caller closes.

    Sinks may be written to by several threads. Raises SondeError when a write fails; the file then ends with the last
    whole reading, where it is one that can be cut.
    """

    def __init__(self, fd: int, header: Header, *, name: str) -> None:
        """Write the header to ``fd``, which is at its end; ``name`` is for errors."""
        self._fd, self._name = fd, name
        self.header = header
        self._lock = threading.Lock()
        text = msgspec.json.encode(header)
        if len(text) > METADATA_BYTES_MAX // 4:
            raise LayoutError(f"write {name}", why="its outputs have too many columns for one capture")
        self._seed = zlib.crc32(text)
        self._types = {each.name: struct_of(each.kinds) for each in header.outputs}
        fields = ENVELOPE | {name: nanoarrow.list_(type_) for name, type_ in self._types.items()}
        self._schema = nanoarrow.Schema(
            nanoarrow.Type.STRUCT, fields=fields, metadata={KEY: text.decode()}, nullable=False
        )
        self._stream = StreamBytes(self._schema)
        self.size_bytes = 0
        self._left = {each.name for each in header.shown}
        self._write(self._stream.schema())

    def sink(self, output: str) -> CaptureSink:
        """Give the sink for one output."""
        return CaptureSink(self, self.header.output(output))

    def reading(
        self, output: OutputHeader, rows: int, buffers: Sequence[Sequence[Buffer]], batch: RecordBatch
    ) -> None:
        """Write one reading, whose columns have these buffers."""
        accounting = encode_accounting(batch.accounting)
        flat = [each for column in buffers for each in column] if rows else []
        found = checksum(
            self._seed,
            output.name.encode(),
            time_ns=batch.time_ns,
            scale=batch.scale,
            accounting=accounting,
            rows=rows,
            buffers=flat,
        )
        envelope = {
            "output": _text(output.name.encode()),
            "time": [None, batch.time_ns.to_bytes(8, "little", signed=True)],
            "scale": [None, batch.scale.to_bytes(8, "little", signed=True)],
            "accounting": _text(accounting),
            "checksum": [None, found.to_bytes(4, "little")],
        }
        with self._lock:
            arrays = [array_of(ENVELOPE[name], 1, each) for name, each in envelope.items()]
            arrays += [
                self._records(each, rows, buffers if each.name == output.name else None)
                for each in self.header.outputs
            ]
            self._write(self._stream.batch(array_of(self._schema, 1, [None], *arrays)))

    def _records(self, output: OutputHeader, rows: int, buffers: Sequence[Sequence[Buffer]] | None) -> Any:
        """Make the list of an output's records; null for one that was not read."""
        kinds = output.kinds
        if buffers is None:
            rows, buffers = 0, [_EMPTY[kind.type == "text"](kind) for kind in kinds.values()]
            validity = b"\0"
        else:
            validity = None
        columns = [column_array(kind, rows, each) for kind, each in zip(kinds.values(), buffers, strict=True)]
        type_ = self._types[output.name]
        items = array_of(type_, rows, [None], *columns)
        offsets = (0).to_bytes(4, "little") + rows.to_bytes(4, "little")
        return array_of(nanoarrow.list_(type_), 1, [validity, offsets], items)

    def _write(self, data: bytes) -> None:
        written = 0
        if len(data) > BODY_BYTES_MAX:
            raise LayoutError(f"write {self._name}", why="one reading takes more than 1 GiB")
        try:
            while written < len(data):
                written += os.write(self._fd, memoryview(data)[written:])
        except OSError as error:
            self._cut()
            why = errno_text(error.errno or 0)
            hint = "what was written before is readable: sonde report shows it"
            raise SondeError(f"write {self._name}", why=why, hint=hint) from error
        self.size_bytes += written

    def _cut(self) -> None:
        """Take back what was written of the last reading, so that the file ends with a whole one."""
        try:
            os.ftruncate(self._fd, self.size_bytes)
        except OSError:
            # A pipe, or a device.
            return

    def ended(self, output: str) -> None:
        """Write the end mark once every output has ended; without it a reader knows that something is missing."""
        with self._lock:
            self._left.discard(output)
            if not self._left:
                self._write(self._stream.end())


class CaptureSink:
    """A sink: writes each batch of one output as one reading, before it what is new of its stacks."""

    def __init__(self, writer: CaptureWriter, output: OutputHeader) -> None:
        self._writer, self._output = writer, output
        self._words = {name: Encoded() for name in output.kinds}
        self._stacks = StackNumbers() if output.frames else None
        self._frames = CaptureSink(writer, writer.header.output(output.frames)) if output.frames else None

    def write(self, batch: RecordBatch) -> None:
        """Write one batch; one that says nothing new is left out. Raises SondeError."""
        if self._output.is_stream and not len(batch) and not batch.accounting.final:
            return
        missing = {column.name for column in self._output.columns} - set(batch.columns)
        if missing:
            raise LayoutError("write a capture", why=f"there is no column {min(missing)} any more")
        columns = batch.columns
        if self._stacks is not None and self._frames is not None:
            numbers, new = self._stacks.of(columns)
            columns = {**columns, NUMBER: numbers}
            self._frames.write(RecordBatch(self._frames.schema, new, time_ns=batch.time_ns))
        buffers = [
            buffers_of(name, columns[name], kind, self._words[name])
            for name, kind in self._output.kinds.items()
        ]
        self._writer.reading(self._output, len(batch), buffers, batch)

    @property
    def schema(self) -> Schema:
        """Give the output's columns."""
        return self._output.schema

    def close(self, accounting: Accounting) -> None:
        """End this output; the accounting was in the last batch."""
        self._writer.ended(self._output.name)


def _text(raw: bytes) -> list[Buffer]:
    return [None, (0).to_bytes(4, "little") + len(raw).to_bytes(4, "little"), raw]


def _empty_text(_: Kind) -> list[Buffer]:
    return [None, bytes(4), b""]


def _empty_plain(kind: Kind) -> list[Buffer]:
    return [None, None, b""] if kind.list_size else [None, b""]


_EMPTY = {True: _empty_text, False: _empty_plain}
