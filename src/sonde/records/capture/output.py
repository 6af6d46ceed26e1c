"""A captured output as a pipeline reads it: in the place of a running probe's."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from sonde.records.capture.header import OutputHeader
    from sonde.records.capture.reader import CaptureReader
    from sonde.records.model import RecordBatch


class CapturedOutput:
    """Gives the readings of one output, as fast as they are asked for; a context manager, which closes its descriptors.

    Of a table's readings those are given that are ``every_s`` seconds apart (0: all), and the last; by default the last
    alone. Of a stream all. ``ended_fileno`` is readable once there is only the last one left.
    """

    def __init__(self, reader: CaptureReader, output: OutputHeader, *, every_s: float | None = None) -> None:
        self.header = output
        self._every_ns = None if every_s is None else round(every_s * 1e9)
        self._readings = reader.readings(output.name.__eq__)
        self._last: RecordBatch | None = None
        self._always = os.eventfd(1, os.EFD_CLOEXEC)
        self._ended = os.eventfd(0, os.EFD_CLOEXEC)
        self._is_stopped = False
        self._shown_ns: int | None = None
        self._chosen = self._choose()
        # One reading ahead: what is the last has to be known when the one before it is given.
        self._next = next(self._chosen, None)
        self._advance()

    @property
    def is_empty(self) -> bool:
        """Tell whether there is nothing (more) to read."""
        return self._next is None

    def _choose(self) -> Iterator[RecordBatch]:
        last: RecordBatch | None = None
        for batch in self._readings:
            last = batch
            if self.header.is_stream or self._is_due(batch.time_ns):
                last = None
                yield batch
        if last is not None:
            yield last

    def _is_due(self, time_ns: int) -> bool:
        if self._every_ns is None:
            return False
        if self._shown_ns is not None and time_ns - self._shown_ns < self._every_ns:
            return False
        self._shown_ns = time_ns
        return True

    def _advance(self) -> None:
        self._following = next(self._chosen, None)
        if self._following is None:
            os.eventfd_write(self._ended, 1)

    def read(self) -> RecordBatch:
        """Give the next reading; an empty batch behind the last, with its columns. There has to be one."""
        batch = self._next
        if batch is None:
            assert self._last is not None, "it is not empty"
            return self._last.picking(slice(0))
        self._last, self._next = batch, self._following
        self._advance()
        return batch

    def fileno(self) -> int | None:
        """Give a descriptor that is always readable; None for a table that was stopped, of which one reading is left."""
        return None if self._is_stopped and not self.header.is_stream else self._always

    def ended_fileno(self) -> int:
        """Give a descriptor that is readable once there is only the last reading left."""
        return self._ended

    def stop(self) -> None:
        """Go to the end."""
        self._is_stopped = True

    def close(self) -> None:
        """Close the descriptors."""
        os.close(self._always)
        os.close(self._ended)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
