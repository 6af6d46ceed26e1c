"""What waits for delivery: the latest snapshot of the metrics, and records up to a bound."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sonde.exporters.exporter import SUPERSEDED
from sonde.exporters.otlp.ended import carrying, points_of, without_first

if TYPE_CHECKING:
    from sonde.exporters.otlp.delta import Deltas
    from sonde.exporters.otlp.ledger import Ledger
    from sonde.exporters.otlp.logs import LogsEncoder
    from sonde.exporters.otlp.metrics import MetricsEncoder
    from sonde.exporters.otlp.requests import Request
    from sonde.records.metrics import Snapshot
    from sonde.records.model import RecordBatch

TEXT_BYTES = 64
"""What a text in a column is reckoned to take beside its place in the array."""


class LatestSnapshot:
    """One snapshot waits: a later one replaces it, and nothing is lost by that, for counts are cumulative.

    The points of what was replaced count as dropped for ``superseded``; series that have ended since come along.
    """

    def __init__(self, encoder: MetricsEncoder, ledger: Ledger, *, ended_max: int) -> None:
        self._encoder, self._ledger = encoder, ledger
        self._ended_max = ended_max
        self._waiting: Snapshot | None = None
        self._older: Snapshot | None = None
        self._carried = 0

    def put(self, snapshot: Snapshot) -> None:
        """Put a snapshot in the place of the one that waits."""
        self._ledger.offer(points_of(snapshot))
        before, self._waiting = self._waiting, snapshot
        self._carried = 0
        for each in (self._older, before):
            if each is not None:
                self._replace(each)
        self._older = None

    def _replace(self, before: Snapshot) -> None:
        assert self._waiting is not None
        points = points_of(self._waiting)
        room = max(0, self._ended_max - self._carried)
        self._waiting, lost = carrying(before, self._waiting, ended_max=room)
        carried = points_of(self._waiting) - points
        self._carried += carried
        self._ledger.drop(lost, "ended")
        self._ledger.drop(points_of(before) - carried - lost, SUPERSEDED)

    def put_back(self, rest: Snapshot) -> None:
        """Take back what was not delivered of a snapshot: what is newer takes its place."""
        if self._waiting is None:
            self._waiting = rest
        else:
            self._replace(rest)

    @property
    def delivered(self) -> Deltas:
        """Give what a receiver that wants differences has of each series."""
        return self._encoder.deltas

    def resume(self, delivered: Deltas) -> None:
        """Go on with the differences to what another has delivered."""
        self._encoder.resume(delivered)

    def succeed(self, former: LatestSnapshot) -> None:
        """Take over what waits at another, and what was delivered from there; with both lanes' conditions held.

        It is not sent alone: a part of a snapshot would have the rest of it forgotten, which was delivered.
        """
        self.resume(former.delivered)
        before = [each for each in (former._older, former._waiting) if each is not None]
        former._older = former._waiting = None
        for each in before:
            former._ledger.withdraw(points_of(each))
            self._ledger.offer(points_of(each))
            if self._waiting is not None:
                self._replace(each)
            elif self._older is None:
                self._older = each
            else:
                self._ledger.drop(points_of(each), SUPERSEDED)

    def due_s(self) -> float | None:
        """A snapshot waits for nothing."""
        return None if self._waiting is None else 0.0

    def take(self) -> SnapshotWork | None:
        """Give what waits."""
        snapshot, self._waiting = self._waiting, None
        self._carried = 0
        return None if snapshot is None else SnapshotWork(self, snapshot, self._encoder)

    def is_newer(self) -> bool:
        """Tell whether another snapshot has come."""
        return self._waiting is not None


@dataclass(frozen=True, slots=True)
class SnapshotWork:
    """A snapshot on its way."""

    supply: LatestSnapshot
    snapshot: Snapshot
    encoder: MetricsEncoder

    @property
    def items(self) -> int:
        """Count its points."""
        return points_of(self.snapshot)

    def requests(self) -> Iterator[Request]:
        """Give its requests."""
        return self.encoder.requests(self.snapshot)

    def finish(self, *, passed: int) -> None:
        """End it; what is left goes back."""
        self.encoder.settle()
        if passed < self.items:
            self.supply.put_back(without_first(self.snapshot, passed))


class RecordQueue:
    """Batches of records wait for each other for a moment, and then for delivery, up to bounds.

    Where they do not fit, the oldest are dropped: what happened last says more. Batches are taken together, up to
    ``TAKEN_RECORDS``, when the oldest has waited ``LINGER_S`` or there are so many.
    """

    TAKEN_RECORDS = 10_000
    LINGER_S = 1.0

    def __init__(
        self,
        encoder: LogsEncoder,
        ledger: Ledger,
        *,
        records_max: int,
        bytes_max: int,
        resource: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._encoder, self._ledger, self._resource = encoder, ledger, resource
        self._records_max, self._bytes_max = records_max, bytes_max
        self._batches: deque[RecordBatch] = deque()
        self._since_s = 0.0
        self.records = self.size_bytes = 0

    def put(self, batch: RecordBatch) -> None:
        """Put a batch at the end, and drop from the front what is too much."""
        self._ledger.offer(len(batch))
        batch = self._fitting(batch)
        if not self._batches:
            self._since_s = time.monotonic()
        self._batches.append(batch)
        self.records += len(batch)
        self.size_bytes += size_of(batch)
        self._drop_what_is_too_much()

    def _drop_what_is_too_much(self) -> None:
        while self.records > self._records_max or self.size_bytes > self._bytes_max:
            self._ledger.drop(len(self._pop()), "queue full")

    def _fitting(self, batch: RecordBatch) -> RecordBatch:
        """Cut off the beginning of a batch that is larger than the queue."""
        room = min(self._records_max, int(self._bytes_max / max(1.0, size_of(batch) / len(batch))))
        if len(batch) <= room:
            return batch
        self._ledger.drop(len(batch) - room, "queue full")
        return batch.picking(slice(len(batch) - room, None))

    def _pop(self) -> RecordBatch:
        batch = self._batches.popleft()
        self.records -= len(batch)
        self.size_bytes -= size_of(batch)
        return batch

    def put_back(self, batches: Iterable[RecordBatch], *, passed: int) -> None:
        """Take back what was not delivered of batches that were taken: the oldest."""
        left = [batch for batch in _behind(batches, passed) if len(batch)]
        self._batches.extendleft(reversed(left))
        self.records += sum(map(len, left))
        self.size_bytes += sum(map(size_of, left))

    def succeed(self, former: RecordQueue) -> None:
        """Take over what waits at another, before what waits here; with both lanes' conditions held."""
        older = [former._pop() for _ in range(len(former._batches))]
        records = sum(map(len, older))
        former._ledger.withdraw(records)
        self._ledger.offer(records)
        self.put_back(older, passed=0)
        self._drop_what_is_too_much()

    def due_s(self) -> float | None:
        """Tell when the oldest has waited long enough."""
        if not self._batches:
            return None
        if self.records >= self.TAKEN_RECORDS:
            return 0.0
        return self._since_s + self.LINGER_S - time.monotonic()

    def take(self) -> RecordsWork | None:
        """Give the oldest batches."""
        taken: list[RecordBatch] = []
        records = 0
        while self._batches and (not taken or records + len(self._batches[0]) <= self.TAKEN_RECORDS):
            taken.append(self._pop())
            records += len(taken[-1])
        self._since_s = time.monotonic()
        return RecordsWork(self, tuple(taken), self._encoder, self._resource()) if taken else None

    def is_newer(self) -> bool:
        """Every record counts: none takes the place of another."""
        return False


@dataclass(frozen=True, slots=True)
class RecordsWork:
    """Batches on their way."""

    supply: RecordQueue
    batches: tuple[RecordBatch, ...]
    encoder: LogsEncoder
    resource: Mapping[str, Any]

    @property
    def items(self) -> int:
        """Count its records."""
        return sum(map(len, self.batches))

    def requests(self) -> Iterator[Request]:
        """Give its requests."""
        return self.encoder.requests(self.batches, resource=self.resource)

    def finish(self, *, passed: int) -> None:
        """End it; what is left goes back, which happens at the end alone."""
        if passed < self.items:
            self.supply.put_back(self.batches, passed=passed)


def _behind(batches: Iterable[RecordBatch], passed: int) -> Iterator[RecordBatch]:
    """Give what is behind so many records."""
    for batch in batches:
        yield batch.picking(slice(min(passed, len(batch)), None)) if passed else batch
        passed = max(0, passed - len(batch))


def size_of(batch: RecordBatch) -> int:
    """Reckon the memory that a batch keeps."""
    return sum(
        values.nbytes + (len(values) * TEXT_BYTES if values.dtype.kind == "O" else 0)
        for values in batch.columns.values()
    )
