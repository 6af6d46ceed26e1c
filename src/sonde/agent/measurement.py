"""One output of a probe as the agent measures it: for weeks, over restarts of what is in the kernel."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from sonde.bpf.ringbuf import RECORDS_MAX
from sonde.errors import KnobError
from sonde.probe import Probe, Selection, Stream, Table
from sonde.records.accounting import UNREPRESENTED, Accounting
from sonde.records.totals import SERIES_MAX, Totals

if TYPE_CHECKING:
    from sonde.records.metrics import Series
    from sonde.records.model import RecordBatch

THIN = "thin_every"
"""The programs' variable that samples while they run: sampling.bpf.h."""

DRAINS_MAX = 64
"""A stream is drained so often in a row at most: then other outputs have their turn."""


class Running(Protocol):
    """A probe's output in the kernel: a ``Run``, or one that the loader holds. Tables give differences."""

    def read(self) -> RecordBatch:
        """Give what was added to a table's rows, or a stream's records, since the last read."""
        ...

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when a stream's ring fills; None for a table."""
        ...

    def set_variable(self, name: str, value: int) -> None:
        """Set a variable of the programs while they run."""
        ...

    def select(self, selection: Selection) -> None:
        """Be on other interfaces from now on, where the probe is on interfaces."""
        ...

    def describe(self) -> dict[str, Any]:
        """Tell what was chosen: the variant, each program's hook, the memory of the maps."""
        ...

    def fill(self) -> float:
        """Give how full its table or ring was when it was last read, 0 to 1."""
        ...

    def statistics(self) -> Mapping[str, tuple[int, int]]:
        """Give, by program, how long it ran in ns and how often, while the kernel kept statistics."""
        ...

    def stop(self) -> None:
        """Count no more; what is read from now on is final."""
        ...

    def close(self) -> None:
        """Free everything."""
        ...


class Measurement:
    """Reads an output, adds up its metrics, keeps its account; attached and detached as the budget says.

    ``start`` makes a run that counts; ``attributes`` are columns of who, which ``identify`` adds to a table's rows.
    Records of a stream go to the exporters; those of one with an ``own_name`` are for the agent itself.
    Counts and accounting go on over detaching, attaching anew and reloading; closed by ``close``.
    """

    def __init__(
        self,
        probe: Probe,
        output: Table | Stream,
        start: Callable[[], Running],
        *,
        attributes: Sequence[str] = (),
        identify: Callable[[RecordBatch], RecordBatch] = lambda batch: batch,
        series_max: int = SERIES_MAX,
        own_name: str = "",
    ) -> None:
        self.probe, self.output, self.is_exported = probe, output, not own_name
        self.name = own_name or f"{probe.name}.{output.name}"
        self._start, self._identify = start, identify
        self._running: Running | None = None
        self._before = self._now = Accounting()
        metrics = output.metrics if isinstance(output, Table) else ()
        self.totals = tuple(
            Totals(metric, attributes=attributes, series_max=series_max) for metric in metrics
        )
        self.description: dict[str, Any] = {}
        self._thin_every = 1

    @property
    def is_stream(self) -> bool:
        """Tell whether it gives records."""
        return isinstance(self.output, Stream)

    @property
    def is_attached(self) -> bool:
        """Tell whether it counts now."""
        return self._running is not None

    @property
    def running(self) -> Running | None:
        """Give what is in the kernel now."""
        return self._running

    @property
    def accounting(self) -> Accounting:
        """Give the account since the agent began."""
        return self._before + self._now

    @property
    def fill(self) -> float:
        """Give how full its table or ring was when it was last read, 0 to 1."""
        return self._running.fill() if self._running is not None else 0.0

    def fileno(self) -> int | None:
        """Give a descriptor that is readable when a stream's ring fills."""
        return self._running.fileno() if self._running is not None else None

    def attach(self) -> None:
        """Begin to count, or go on; nothing if it does already. Raises what starting raises."""
        if self._running is None:
            self._running, self._thin_every = self._start(), 1
            self.description = self._running.describe()

    def read(self) -> list[RecordBatch]:
        """Read what there is; a table's batch is added up, a stream's are given to whom it concerns."""
        if self._running is None:
            return []
        batches = [self._read(self._running)]
        # A batch that is not full was all there was.
        while self.is_stream and len(batches[-1]) >= RECORDS_MAX and len(batches) < DRAINS_MAX:
            batches.append(self._read(self._running))
        return [batch for batch in batches if len(batch)]

    def _read(self, running: Running) -> RecordBatch:
        batch = running.read()
        self._now = batch.accounting
        if not self.is_stream:
            identified = self._identify(batch)
            for totals in self.totals:
                totals.add(identified)
        return batch

    def detach(self) -> list[RecordBatch]:
        """Count no more, and read what is left: the account is balanced then. Again is fine."""
        if self._running is None:
            return []
        running = self._running
        running.stop()
        batches = more = self.read()
        while self.is_stream and more:
            more = self.read()
            batches += more
        self.close()
        return batches

    def select(self, selection: Selection) -> None:
        """Be on other interfaces from now on, without a gap; what is not attached will begin so."""
        if self._running is not None:
            self._running.select(selection)

    def succeed(self, former: Measurement, *, with_series: bool, running: Running | None = None) -> None:
        """Go on with the account of another, and with its run where that still counts; ``with_series`` with its totals.

        ``running`` counts already, since the other one does not.
        """
        self._before, self._now = former._before, former._now
        self._running, former._running = former._running, None
        self.description, self._thin_every = former.description, former._thin_every
        if running is not None:
            self._running, self.description, self._thin_every = running, running.describe(), 1
        if with_series:
            self.totals = former.totals

    def thin(self, every: int) -> None:
        """Take one event in so many from now on; a probe that cannot is left as it is."""
        if self._running is not None and every != self._thin_every:
            try:
                self._running.set_variable(THIN, every)
            except KnobError:
                # This probe has nothing to sample by.
                pass
            self._thin_every = every

    def series(self, time_ns: int) -> list[Series]:
        """Give its metrics, those that have a series."""
        return [totals.series(time_ns) for totals in self.totals if len(totals)]

    def close(self) -> None:
        """Free everything; again is fine. What was read counts."""
        if self._running is not None:
            running, self._running = self._running, None
            # What is sampled out by now is so for good.
            notes = {name: count for name, count in self.accounting.notes.items() if name != UNREPRESENTED}
            self._before, self._now = (
                replace(self.accounting, in_flight=0, notes=notes),
                Accounting(final=True),
            )
            running.close()
