"""The loop: read a batch, write it, wait; at the end stop, read what is left, and account for it."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Protocol

from sonde.records.accounting import Accounting
from sonde.records.model import RecordBatch, Sink
from sonde.records.waiting import Waiting

DRAIN_EVERY_S = 0.05
"""How often a stream is drained. Its programs wake us only when the ring fills (stream.bpf.h), so that records
gather: small batches cost more than they bring."""


class Output(Protocol):
    """What a pipeline reads: a ``Run``, or a capture file's."""

    def read(self) -> RecordBatch:
        """Give a batch: a table's rows so far, a stream's records since the last read."""
        ...

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when a stream has records; None for a table."""
        ...

    def stop(self) -> None:
        """Count no more; what is read from now on is final."""
        ...


class Pipeline:
    """Moves batches from an output to a sink until it is told to stop.

    A table is read every ``every_s`` seconds; a stream is drained as records come, every 50 ms or when its ring
    fills. ``stop`` may be called from a signal handler or another thread.
    """

    def __init__(self, output: Output, sink: Sink, *, every_s: float = 1.0) -> None:
        self._output, self._sink = output, sink
        self._every_s = every_s
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def stop(self) -> None:
        """End the loop soon; again is fine."""
        if self._wake_write >= 0:
            os.write(self._wake_write, b"x")

    def run(self, *, duration_s: float | None = None, until: Sequence[int] = ()) -> Accounting:
        """Run for a time, or until one of the descriptors in ``until`` is readable, or until ``stop``.

        Gives the final accounting, which the sink has been given too.
        """
        ends = [self._wake_read, *until]
        started = time.monotonic()
        deadline = None if duration_s is None else started + duration_s
        waiting = Waiting()
        try:
            self._loop(waiting, ends, started, deadline)
            return self._finish()
        finally:
            waiting.close()
            os.close(self._wake_read)
            os.close(self._wake_write)
            self._wake_read = self._wake_write = -1

    def _loop(self, waiting: Waiting, ends: list[int], started: float, deadline: float | None) -> None:
        ring = self._output.fileno()
        rings = [] if ring is None else [ring]
        every_s = self._every_s if ring is None else DRAIN_EVERY_S
        next_tick = started + every_s
        while True:
            wake_at = next_tick if deadline is None else min(next_tick, deadline)
            ready = waiting.wait(ends, rings, wake_at - time.monotonic())
            if any(end in ready for end in ends):
                return
            now = time.monotonic()
            if deadline is not None and now >= deadline:
                return
            self._sink.write(self._output.read())
            # A read that took longer than the interval skips ticks, it does not pile them up.
            next_tick = max(next_tick + every_s, time.monotonic())

    def _finish(self) -> Accounting:
        self._output.stop()
        batch = self._output.read()
        self._sink.write(batch)
        while self._output.fileno() is not None and len(batch):
            batch = self._output.read()
            self._sink.write(batch)
        self._sink.close(batch.accounting)
        return batch.accounting
