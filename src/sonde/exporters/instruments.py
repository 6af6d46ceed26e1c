"""Metrics as observable instruments of an application's own OpenTelemetry meter; needs opentelemetry-api alone."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sonde.errors import SondeError
from sonde.exporters.seats import Seat, leave_seats, take_seats
from sonde.records.metrics import Metric
from sonde.records.totals import SERIES_MAX, Totals

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter, Observation

    from sonde.records.metrics import Series
    from sonde.records.model import RecordBatch

    Key = tuple[str, str]
    Pick = Callable[[Series], Any]

LOG = logging.getLogger("sonde.opentelemetry")

FOREVER_NS = 2**62

DOCUMENT_METRIC = Metric(
    name="ebpf.syscall.count",
    kind="counter",
    unit="",
    description="Number of system calls",
    value="count",
    attributes={"pid": "pid"},
)
"""The founding document's metric (§1.3.6), by its name, description and integer attribute."""


class Instruments:
    """Observable instruments over totals that a table's rows add up to; the reader of the meter sets the interval.

    ``read`` gives what was added since it was last called: once per collection, however many instruments there are.
    Values are cumulative, so nothing is counted twice, and a reader of differences gets differences. A histogram
    becomes two counters, ``NAME.count`` and ``NAME.sum``: OpenTelemetry has no observable histogram.

    The SDK keeps every set of attributes that it ever saw, and merges silently those above a bound of 2,000 for each
    instrument. So there are ``series_max`` in all, ended ones too; what comes later is in one with the attribute
    ``otel.metric.overflow``, and ``folded`` counts it. Raise it together with the reader's ``cardinality_limits``.

    What cannot be read is logged once, is in ``error`` until it can be, and counts in ``errors``; the totals so far are
    given meanwhile. Instruments cannot be removed from a meter: after ``close`` they give nothing, until others of the
    same meter and metrics go on with them and their counts. Raises SondeError where others have not been closed.

    They are of the process that made them. In one that it forks, where the SDK starts its reader again, they give nothing
    and read nothing, for both would count the same; such a process may make others, which begin at nothing.
    """

    def __init__(
        self,
        meter: Meter,
        metrics: Iterable[Metric],
        read: Callable[[], RecordBatch],
        *,
        attributes: Mapping[str, Sequence[str]] | None = None,
        series_max: int = SERIES_MAX,
    ) -> None:
        """Make the instruments; ``attributes`` are more columns of who, by metric's name."""
        _check(meter, series_max)
        self._read = read
        self._owner_pid = os.getpid()
        self._lock = threading.Lock()
        self._asked: set[Key] | None = None
        self._is_closed = False
        self.error: SondeError | None = None
        self.errors = 0
        more = attributes or {}

        def make(metric: Metric) -> Seat:
            columns = tuple(more.get(metric.name, ()))
            totals = Totals(metric, attributes=columns, series_max=series_max, idle_ns=FOREVER_NS)
            return Seat(totals, columns, series_max)

        def register(metric: Metric, seat: Seat) -> None:
            _register(meter, metric, seat)

        self._seats = take_seats(meter, self, metrics, make=make, register=register)
        self._totals = {seat.totals.metric.name: seat.totals for seat in self._seats}

    @property
    def is_ours(self) -> bool:
        """Tell whether this process made them. Another has a copy of the lock that nobody may ever release."""
        return os.getpid() == self._owner_pid

    @property
    def folded(self) -> int:
        """Count additions to series that there was no room for."""
        if not self.is_ours:
            return 0
        with self._lock:
            return sum(totals.folded for totals in self._totals.values())

    def observe(self, key: Key, pick: Pick) -> list[Observation]:
        """Give the values of one instrument, for one collection."""
        if not self.is_ours:
            return []
        with self._lock:
            return [] if self._is_closed else self._observe(key, pick)

    def _observe(self, key: Key, pick: Pick) -> list[Observation]:
        from opentelemetry.metrics import Observation

        # An instrument that is asked again begins the next collection.
        if self._asked is None or key in self._asked:
            self._asked = set()
            self._refresh()
        self._asked.add(key)
        series = self._totals[key[0]].series(0)
        names = tuple(series.attributes)
        rows = zip(*(column.tolist() for column in series.attributes.values()), strict=True)
        each = rows if names else [()] * len(series)
        return [
            Observation(
                value, {name: told for name, told in zip(names, row, strict=True) if told is not None}
            )
            for value, row in zip(pick(series).tolist(), each, strict=True)
        ]

    @contextmanager
    def last_reading(self) -> Iterator[None]:
        """Read what is about to end, and no more until that is done: collections wait meanwhile."""
        if not self.is_ours:
            yield
            return
        with self._lock:
            if not self._is_closed:
                self._refresh()
            yield

    def _refresh(self) -> None:
        try:
            batch = self._read()
        except SondeError as error:
            self.errors += 1
            if self.error is None or str(self.error) != str(error):
                LOG.error("%s", error)
            self.error = error
            return
        self.error = None
        for totals in self._totals.values():
            totals.add(batch)

    def close(self) -> None:
        """Give nothing any more; again is fine."""
        if not self.is_ours:
            return
        with self._lock:
            self._is_closed = True
        leave_seats(self._seats, self)


def _check(meter: object, series_max: object) -> None:
    """Refuse what cannot be; raises SondeError."""
    if not hasattr(meter, "create_observable_counter"):
        raise SondeError(
            "export to OpenTelemetry",
            why=f"{meter!r} is no meter",
            hint='give a provider\'s get_meter("NAME")',
        )
    if not isinstance(series_max, int) or series_max < 1:
        raise SondeError(
            "export to OpenTelemetry",
            why=f"series_max={series_max!r} is no number of series",
            hint="at least 1",
        )


def _register(meter: Meter, metric: Metric, seat: Seat) -> None:
    """Make the instruments of a metric, which ask whoever has its seat."""
    name, unit, description = metric.name, metric.unit, metric.description
    if metric.kind == "histogram":
        count, total = (name, "count"), (name, "sum")
        meter.create_observable_counter(
            f"{name}.count", [_callback(seat, count, _counts)], "{event}", f"{description} Their number."
        )
        meter.create_observable_counter(
            f"{name}.sum", [_callback(seat, total, _sums)], unit, f"{description} Their sum."
        )
        return
    create: Any = {
        "counter": meter.create_observable_counter,
        "updown": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }[metric.kind]
    create(name, [_callback(seat, (name, "value"), _values)], unit, description)


def _callback(seat: Seat, key: Key, pick: Pick) -> Callable[[Any], Iterable[Observation]]:
    def observe(_: Any) -> Iterable[Observation]:
        owner = seat.owner
        return [] if owner is None else owner.observe(key, pick)

    return observe


def _values(series: Series) -> Any:
    return series.scaled(series.values)


def _counts(series: Series) -> Any:
    return series.values.sum(axis=1)


def _sums(series: Series) -> Any:
    assert series.totals is not None, "a histogram that is exported has a sum"
    return series.scaled(series.totals)
