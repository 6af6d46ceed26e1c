"""The exporter: a bounded queue, and a thread that writes what is in it."""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from sonde.errors import SondeError, errno_name, errno_text
from sonde.exporters.exporter import Status
from sonde.exporters.json_lines.file import LinesFile
from sonde.exporters.json_lines.line import Chunk, metric_chunks, record_chunks
from sonde.exporters.json_lines.settings import JsonLinesSettings

if TYPE_CHECKING:
    from sonde.records.metrics import Snapshot
    from sonde.records.model import RecordBatch

RETRY_S = 1.0
NOBODY_READS = "the pipe is full, and nobody reads it"
QUEUE_FULL, ENDED = "queue full", "not written before the end"

What = Literal["points", "records"]


@dataclass(eq=False, slots=True)
class Item:
    """Lines to come: a snapshot's or a batch's; ``left`` of them are not written yet."""

    what: What
    chunks: Iterator[Chunk]
    left: int


class JsonLinesExporter:
    """Writes a line for each series of each snapshot, and for each record.

    A thread of its own encodes and writes, so that a slow disk stops nobody. While nothing can be written (disk full)
    it tries again every second and lines wait, ``queue_max`` of each kind: then the oldest metrics go, which newer ones
    replace, and the newest records; both are counted by what holds the file up. ``close`` it.
    """

    name = "file"

    def __init__(self, settings: JsonLinesSettings | None = None) -> None:
        """Open the file; raises SondeError when that cannot be."""
        self.settings = settings or JsonLinesSettings()
        try:
            self._file = LinesFile(self.settings)
        except OSError as error:
            why = errno_text(error.errno or 0)
            raise SondeError(f"write {self.settings.path}", why=why, hint="give another path") from error
        self._changed = threading.Condition()
        self._queue: deque[Item] = deque()
        self._is_closing = self._is_over = self._is_reopening = False
        self._offered: Counter[What] = Counter()
        self._delivered: Counter[What] = Counter()
        self._waiting: Counter[What] = Counter()
        self._dropped: dict[What, Counter[str]] = {"points": Counter(), "records": Counter()}
        self._failures: Counter[str] = Counter()
        self._writes = 0
        self._latency_s = 0.0
        self._cause = self._problem = self._stale = ""
        self._resource: Mapping[str, Any] | None = None
        self._thread = threading.Thread(target=self._work, name="sonde-json-lines", daemon=True)
        self._thread.start()

    # ---- from the loop --------------------------------------------------------------------------------------

    def export(self, snapshot: Snapshot) -> None:
        """Take the metrics of a moment."""
        count = sum(map(len, snapshot.series))
        if self.settings.metrics and count:
            chunks = metric_chunks(snapshot, resource=self.settings.resource)
            with self._changed:
                self._resource = snapshot.resource if self.settings.resource else None
                while self._waiting["points"] + count > self.settings.queue_max and self._drop_oldest():
                    continue
                self._offer(Item("points", chunks, count))

    def log(self, batch: RecordBatch) -> None:
        """Take records of a stream."""
        if not self.settings.logs or not len(batch):
            return
        with self._changed:
            chunks = record_chunks(batch, resource=self._resource)
            self._offer(Item("records", chunks, len(batch)))

    def _offer(self, item: Item) -> None:
        self._offered[item.what] += item.left
        # What is larger than the queue goes in alone: it would never fit otherwise.
        if self._waiting[item.what] and self._waiting[item.what] + item.left > self.settings.queue_max:
            self._dropped[item.what][self._cause or QUEUE_FULL] += item.left
            return
        self._waiting[item.what] += item.left
        self._queue.append(item)
        self._changed.notify()

    def _drop_oldest(self) -> bool:
        """Drop the oldest snapshot that waits, but for the one that is being written; False where there is none."""
        for item in list(self._queue)[1:]:
            if item.what == "points":
                self._queue.remove(item)
                self._drop(item, self._cause or QUEUE_FULL)
                return True
        return False

    def _drop(self, item: Item, cause: str) -> None:
        self._dropped[item.what][cause] += item.left
        self._waiting[item.what] -= item.left

    def reopen(self) -> None:
        """Open the path again before the next line: another program has renamed the file."""
        with self._changed:
            self._is_reopening = True
            self._changed.notify()

    def status(self) -> Status:
        """Tell how it does."""
        with self._changed:
            problem = self._problem or self._stale
            if not self._thread.is_alive() and not self._is_closing:
                problem = (
                    "the thread that writes has ended: a bug of sonde's, its traceback is on standard error"
                )
            return Status(
                points_offered=self._offered["points"],
                points_delivered=self._delivered["points"],
                points_waiting=self._waiting["points"],
                points_dropped=dict(self._dropped["points"]),
                records_offered=self._offered["records"],
                records_delivered=self._delivered["records"],
                records_waiting=self._waiting["records"],
                records_dropped=dict(self._dropped["records"]),
                failures=dict(self._failures),
                requests=self._writes,
                queue_length=self._waiting.total(),
                queue_capacity=2 * self.settings.queue_max,
                latency_s=self._latency_s,
                is_healthy=not problem,
                problem=problem,
            )

    def close(self, *, timeout_s: float) -> None:
        """Write what waits, for so long at most; then count it as dropped. Again is fine."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join(timeout_s)
        with self._changed:
            # A thread that hangs in a write finds out that it is over, and counts nothing any more.
            self._is_over = True
            for item in self._queue:
                self._drop(item, self._cause or ENDED)
            self._queue.clear()

    # ---- in the thread --------------------------------------------------------------------------------------

    def _work(self) -> None:
        chunk: Chunk | None = None
        while True:
            item = self._next()
            if item is None:
                break
            try:
                self._reopen_if_asked()
                if chunk is None:
                    chunk = next(item.chunks, None)
                if chunk is not None:
                    self._write(item, chunk)
                    chunk = None
                    continue
            except OSError as error:
                if self._failed(error):
                    break
                continue
            with self._changed:
                if self._queue and self._queue[0] is item:
                    self._queue.popleft()
        self._file.close()

    def _next(self) -> Item | None:
        """Wait for something to write; None at the end."""
        with self._changed:
            while not self._queue and not self._is_closing and not self._is_reopening:
                self._changed.wait()
            if self._is_over or (self._is_closing and not self._queue):
                return None
            return self._queue[0] if self._queue else _NOTHING

    def _reopen_if_asked(self) -> None:
        """Open the path; where it cannot be opened, lines go to where they went until it is asked for again, and it is said."""
        if not self._is_reopening:
            return
        stale = ""
        try:
            self._file.reopen()
        except OSError as error:
            why = errno_text(error.errno or 0)
            stale = f"open {self.settings.path} again: {why}: lines go to the file that was open"
        with self._changed:
            self._is_reopening, self._stale = False, stale

    def _write(self, item: Item, chunk: Chunk) -> None:
        began = time.monotonic()
        self._file.append(chunk.text)
        with self._changed:
            if self._is_over:
                return
            self._writes += 1
            self._latency_s = time.monotonic() - began
            self._delivered[item.what] += chunk.lines
            self._waiting[item.what] -= chunk.lines
            item.left -= chunk.lines
            self._cause = self._problem = ""

    def _failed(self, error: OSError) -> bool:
        """Note a failure, and wait a little; tells whether to give up, at the end."""
        with self._changed:
            self._cause = errno_name(error.errno or 0)
            self._failures[self._cause] += 1
            why = NOBODY_READS if error.errno == errno.EAGAIN else errno_text(error.errno or 0)
            self._problem = f"write {self.settings.path}: {why}"
            if not self._is_closing:
                self._changed.wait_for(lambda: self._is_closing, RETRY_S)
                return False
            return True


_NOTHING = Item("points", iter(()), 0)
