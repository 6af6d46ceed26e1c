"""Reading a capture, as far as it is whole."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from sonde.errors import SondeError
from sonde.records.capture.envelope import checksum, decode_accounting
from sonde.records.capture.header import FORMAT, KEY, Header, OutputHeader
from sonde.records.capture.kind import Kind, values_from
from sonde.records.capture.message import (
    BATCH,
    SCHEMA,
    Buffers,
    DamagedError,
    batch_of,
    metadata_of,
    read_message,
)
from sonde.records.capture.stacks import NUMBER, StackTexts
from sonde.records.capture.text import Decoded
from sonde.records.model import RecordBatch

if TYPE_CHECKING:
    from sonde.records.model import Values


@dataclass(frozen=True, slots=True)
class End:
    """How a capture ends: ``why`` it ends too early, empty where it does not, behind how many bytes and readings."""

    why: str
    at_bytes: int
    readings: int


class CaptureReader:
    """A capture from its beginning to its end, once; the caller closes the file.

    ``end`` is known when all readings were taken. What is in the file is checked, nothing in it is believed: sizes,
    offsets, names, and a checksum for each reading.
    """

    def __init__(self, file: BinaryIO, *, name: str) -> None:
        """Read the header; raises SondeError for what is no capture."""
        self._file, self._name = _Counted(file), name
        self.end: End | None = None
        self.header, self._seed = self._read_header()
        self._words: dict[str, Decoded] = {}
        self._stacks: dict[str, StackTexts] = {}

    def _read_header(self) -> tuple[Header, int]:
        what = f"read {self._name}"
        try:
            message = read_message(self._file)  # type: ignore[arg-type]
            if message is None or message.type != SCHEMA:
                raise DamagedError("it does not begin with a schema")
            text = metadata_of(message.header).get(KEY.encode())
        except EOFError as error:
            why = "it is empty" if not self._file.taken else "it ends within its first message"
            raise SondeError(what, why=why, hint="sonde record -o FILE makes captures") from error
        except DamagedError as error:
            hint = "sonde record -o FILE makes captures"
            raise SondeError(what, why=f"it is no capture of sonde's: {error}", hint=hint) from error
        if text is None:
            why = "it is an Arrow stream, but no capture of sonde's"
            raise SondeError(what, why=why, hint="sonde record -o FILE makes captures")
        return self._decode_header(what, text), zlib.crc32(text)

    @staticmethod
    def _decode_header(what: str, text: bytes) -> Header:
        try:
            version = msgspec.json.decode(text, type=_Format).format
            if version > FORMAT:
                why = f"a newer sonde wrote it, in format {version}"
                raise SondeError(what, why=why, hint=f"upgrade sonde: this one reads up to format {FORMAT}")
            header = msgspec.json.decode(text, type=Header)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise SondeError(what, why="its header is damaged") from error
        if not header.is_sound():
            raise SondeError(what, why="its header contradicts itself")
        return header

    def readings(self, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[RecordBatch]:
        """Give the readings of the outputs that are ``wanted``, one after the other, as far as they are whole."""
        count, why = 0, ""
        at = self._file.taken
        while True:
            at = self._file.taken
            try:
                message = read_message(self._file)  # type: ignore[arg-type]
                if message is None:
                    break
                if message.type != BATCH:
                    raise DamagedError("there is no reading where one should begin")
                nodes, buffers = batch_of(message)
                output, found = self._reading(nodes, buffers, wanted)
            except EOFError:
                why = "it was cut short"
                break
            except (DamagedError, ValueError, OverflowError) as error:
                why = f"it is damaged: {error if isinstance(error, DamagedError) else 'a reading contradicts itself'}"
                break
            count += not output.of
            if found is not None:
                yield found
        self.end = End(why, at, count)

    def _reading(
        self, nodes: list[tuple[int, int]], buffers: Buffers, wanted: Callable[[str], bool]
    ) -> tuple[OutputHeader, RecordBatch | None]:
        """Read one reading; of a companion the frames are kept for the stacks that are to come."""
        take = buffers.take
        name = _text_from(buffers)
        take(None)
        time_ns = int.from_bytes(take(8), "little", signed=True)
        take(None)
        scale = int.from_bytes(take(8), "little", signed=True)
        figures = _text_from(buffers)
        take(None)
        expected = int.from_bytes(take(4), "little")
        try:
            output = self.header.output(name.decode())
        except KeyError as error:
            raise DamagedError("a reading is of no output that the header names") from error
        if not wanted(output.of or output.name):
            return output, None
        if scale < 1 or not 0 <= time_ns < 1 << 62:
            raise DamagedError("a reading has no time or scale that can be")
        rows, columns, parts = self._records(output, nodes, buffers)
        sum_ = checksum(
            self._seed, name, time_ns=time_ns, scale=scale, accounting=figures, rows=rows, buffers=parts
        )
        if sum_ != expected:
            raise DamagedError("a reading's checksum is wrong")
        if output.of:
            self._stacks.setdefault(output.name, StackTexts()).add(columns())
            return output, None
        found = columns()
        if output.frames:
            found |= self._stacks.setdefault(output.frames, StackTexts()).columns(found[NUMBER])
            found = {name: found[name] for name in output.schema.names}
        return output, RecordBatch(output.schema, found, decode_accounting(figures), time_ns, scale)

    def _records(
        self, output: OutputHeader, nodes: list[tuple[int, int]], buffers: Buffers
    ) -> tuple[int, Callable[[], dict[str, Values]], list[memoryview]]:
        """Find an output's rows and buffers among all; the columns are made once the checksum is right."""
        node, taken = 5, buffers.taken
        for each in self.header.outputs:
            kinds = each.kinds
            if each is output:
                break
            node += 2 + sum(2 if kind.list_size else 1 for kind in kinds.values())
            taken += 3 + sum(map(_buffer_count, kinds.values()))
        if node + 1 >= len(nodes):
            raise DamagedError("columns are missing")
        rows = nodes[node + 1][0]
        if rows < 0:
            raise DamagedError("a reading has less than no records")
        start = taken + 3
        words = self._words.setdefault(output.name, Decoded())

        def columns() -> dict[str, Values]:
            again = Buffers(buffers.places, buffers.body, start)
            return {name: _values(kind, rows, again, words) for name, kind in kinds.items()}

        parts = Buffers(buffers.places, buffers.body, start)
        cut: list[memoryview] = []
        for kind in kinds.values():
            cut += _parts(kind, rows, parts)
        return rows, columns, cut if rows else []


class _Format(msgspec.Struct):
    format: int


class _Counted:
    """A file that says how much of it was taken."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.taken = 0

    def read(self, size: int) -> bytes:
        piece = self._file.read(size)
        self.taken += len(piece)
        return piece


def _text_from(buffers: Buffers) -> bytes:
    buffers.take(None)
    offsets = buffers.take(8)
    start, end = int.from_bytes(offsets[:4], "little"), int.from_bytes(offsets[4:], "little")
    data = buffers.take(None)
    if not 0 <= start <= end <= len(data):
        raise DamagedError("a text lies outside of its buffer")
    return bytes(data[start:end])


def _buffer_count(kind: Kind) -> int:
    return 3 if kind.list_size or kind.type == "text" else 2


def _values(kind: Kind, rows: int, buffers: Buffers, words: Decoded) -> Values:
    if rows:
        return values_from(kind, rows, buffers.take, words)
    for _ in range(_buffer_count(kind)):
        buffers.take(None)
    import numpy as np

    return np.empty((0, kind.list_size) if kind.list_size else 0, kind.dtype)


def _parts(kind: Kind, rows: int, buffers: Buffers) -> list[memoryview]:
    """Give a column's buffers as they were summed up."""
    return [buffers.take(None) for _ in range(_buffer_count(kind))]
