"""Requests: encoded points and records, packed up to the size that a receiver takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from sonde.exporters.otlp import wire


def _nothing(_: slice) -> None:
    """A delivery that nobody needs to know of."""


class Envelope:
    """The messages around items, from the outermost to the innermost.

    A layer is the tag of the field that holds the message, and the message's other fields, encoded.
    """

    def __init__(self, *layers: tuple[bytes, bytes]) -> None:
        self._layers = layers
        self.overhead_bytes = sum(wire.FRAME_BYTES_MAX + len(other) for _, other in layers)

    def wrap(self, items: bytes) -> bytes:
        """Put encoded items, each with its frame, into the messages."""
        for tag, other in reversed(self._layers):
            items = wire.framed(tag, other + items)
        return items


@dataclass(frozen=True, slots=True)
class Group:
    """Items of one kind (a metric's points, a batch's records), encoded, each with its frame.

    ``envelope`` is what stands around them in a request. ``delivered`` is told which of them a receiver has.
    """

    items: Sequence[bytes]
    envelope: Envelope
    delivered: Callable[[slice], None] = _nothing


@dataclass(frozen=True, slots=True)
class Request:
    """One request: its body, how many items are in it, and how many before it fit into none."""

    body: bytes
    items: int
    too_large: int = 0
    parts: tuple[tuple[Group, slice], ...] = field(default=(), repr=False)

    def delivered(self) -> None:
        """Say that a receiver has it."""
        for group, rows in self.parts:
            group.delivered(rows)


class Packer:
    """Packs groups into requests, in order, one at a time: what is not sent yet is not encoded twice.

    ``envelope`` is what stands around all of a request; with everything a request has ``size_max_bytes`` at most.
    """

    def __init__(self, envelope: Envelope, *, size_max_bytes: int) -> None:
        self._envelope = envelope
        self._room = size_max_bytes - envelope.overhead_bytes
        self._clear()

    def _clear(self) -> None:
        self._encoded: list[bytes] = []
        self._parts: list[tuple[Group, slice]] = []
        self._items = self._used = self._too_large = 0

    def pack(self, groups: Iterable[Group]) -> Iterator[Request]:
        """Give the requests."""
        for group in groups:
            yield from self._group(group)
        if self._items or self._too_large:
            yield self._request()

    def _group(self, group: Group) -> Iterator[Request]:
        ends = np.fromiter(accumulate(map(len, group.items)), np.int64, len(group.items))
        at, before = 0, 0
        while at < len(ends):
            left = self._room - self._used - group.envelope.overhead_bytes
            end = int(np.searchsorted(ends, before + left, side="right"))
            if end > at:
                self._add(group, slice(at, end), int(ends[end - 1]) - before)
            elif self._used:
                yield self._request()
                continue
            else:
                self._too_large += 1
                end = at + 1
            at, before = end, int(ends[end - 1])

    def _add(self, group: Group, rows: slice, size_bytes: int) -> None:
        self._encoded.append(group.envelope.wrap(b"".join(group.items[rows])))
        self._parts.append((group, rows))
        self._items += rows.stop - rows.start
        self._used += size_bytes + group.envelope.overhead_bytes

    def _request(self) -> Request:
        body = self._envelope.wrap(b"".join(self._encoded)) if self._encoded else b""
        made = Request(body, self._items, self._too_large, tuple(self._parts))
        self._clear()
        return made
