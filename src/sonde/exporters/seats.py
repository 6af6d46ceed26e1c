"""Who gives the values of a meter's instruments: a meter keeps each for ever, and never takes a second of its name."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from sonde.errors import SondeError
from sonde.records.metrics import Metric
from sonde.records.totals import Totals

if TYPE_CHECKING:
    from opentelemetry.metrics import Meter

    from sonde.exporters.instruments import Instruments

    Key = tuple[str, str, str]


@dataclass(slots=True, eq=False)
class Seat:
    """The instruments of one metric in one meter; ``owner`` gives their values, None while nobody does.

    ``totals`` are those of its owner, or of the last one: whoever comes next goes on from them, for a reader has the
    cumulative counts already, and would take smaller ones for less than nothing.
    """

    totals: Totals
    columns: tuple[str, ...]
    series_max: int
    owner: Instruments | None = None


_SEATS: WeakKeyDictionary[Meter, dict[Key, Seat]] = WeakKeyDictionary()
_LOCK = threading.Lock()


def take_seats(
    meter: Meter,
    owner: Instruments,
    metrics: Iterable[Metric],
    *,
    make: Callable[[Metric], Seat],
    register: Callable[[Metric, Seat], None],
) -> list[Seat]:
    """Have ``owner`` give the values of these metrics; a seat that is new is made, and ``register`` tells the meter.

    Raises SondeError, and takes none, where another one gives a metric already: the SDK would not listen to the second,
    without a word.
    """
    wanted = {_key(metric): metric for metric in metrics}
    with _LOCK:
        seats = _SEATS.setdefault(meter, {})
        for key, metric in wanted.items():
            if key in seats and (other := seats[key].owner) is not None and other.is_ours:
                raise SondeError(
                    f"export {metric.name} to OpenTelemetry",
                    why="another export gives it to this meter already",
                    hint="close that one first, or take another meter",
                )
        for key, metric in wanted.items():
            made = make(metric)
            seat = seats.get(key)
            if seat is None:
                seat = seats[key] = made
                register(metric, seat)
            elif (seat.owner is not None and not seat.owner.is_ours) or (
                (seat.columns, seat.series_max) != (made.columns, made.series_max)
            ):
                # Of another kind; or what the process counted that forked this one, which goes on by itself.
                seat.totals, seat.columns, seat.series_max = made.totals, made.columns, made.series_max
            seat.owner = owner
        return [seats[key] for key in wanted]


def leave_seats(seats: Iterable[Seat], owner: Instruments) -> None:
    """Give no more values; again is fine, when somebody else does too."""
    with _LOCK:
        for seat in seats:
            if seat.owner is owner:
                seat.owner = None


def _key(metric: Metric) -> Key:
    return metric.name, metric.kind, metric.unit
