"""Differences since the last delivery, for receivers that want delta temporality."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sonde.exporters.otlp.attributes import names_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.records.metrics import Series

    Array = npt.NDArray[Any]
    Key = tuple[Any, ...]
    Name = tuple[str, tuple[str, ...], int]


@dataclass(slots=True)
class Delivered:
    """What a receiver has of each series: the totals, and until when; rows by key."""

    rows: dict[Key, int]
    values: Array
    totals: Array | None
    maxima: Array | None
    until_ns: Array
    start_ns: Array


@dataclass(slots=True)
class Attempt:
    """A metric of the snapshot that is being delivered, and which of its rows are."""

    series: Series
    keys: Sequence[Key]
    before: Delivered
    is_delivered: npt.NDArray[np.bool_]


class Deltas:
    """Keeps, for each series by its attributes, what was delivered; nothing is lost when a request fails.

    What was not delivered is in the next difference, whose start is still that of the one before. A series whose
    start or count says that it began again is delivered as a new one. Series that a settled snapshot has no more are
    forgotten, so memory is bounded by the snapshots'.
    """

    def __init__(self) -> None:
        self._delivered: dict[Name, Delivered] = {}
        self._attempts: dict[Name, Attempt] = {}

    def copy(self) -> Deltas:
        """Give one that goes on from here, whatever becomes of this one."""
        made = Deltas()
        made._delivered = dict(self._delivered)
        return made

    def since_delivered(self, series: Series, keys: Sequence[Key]) -> tuple[Series, Callable[[slice], None]]:
        """Give what was added to each series since it was delivered, and what to call with the rows that now are."""
        name = self._name(series)
        before = self._before(name, series, keys)
        attempt = Attempt(series, keys, before, np.zeros(len(series), bool))
        self._attempts[name] = attempt
        maxima = None
        if series.maxima is not None and before.maxima is not None:
            # The largest since then is known if it is the largest ever.
            maxima = np.ma.masked_array(series.maxima, mask=series.maxima <= before.maxima)
        totals = None
        if series.totals is not None and before.totals is not None:
            totals = series.totals - before.totals
        difference = replace(
            series,
            values=series.values - before.values,
            totals=totals,
            maxima=maxima,
            start_ns=before.until_ns,
        )

        def delivered(rows: slice) -> None:
            attempt.is_delivered[rows] = True

        return difference, delivered

    def settle(self) -> None:
        """End a snapshot: from now on differences are to what was delivered of it."""
        # Metrics that this snapshot did not get to stay as they were.
        self._delivered.update((name, _settled(attempt)) for name, attempt in self._attempts.items())
        self._attempts = {}

    def _name(self, series: Series) -> Name:
        """Tell a metric's series from those of another table that has a metric of the same name."""
        ordinal = 0
        while (name := (series.metric.name, names_of(series), ordinal)) in self._attempts:
            ordinal += 1
        return name

    def _before(self, name: Name, series: Series, keys: Sequence[Key]) -> Delivered:
        """Give what was delivered, in the order of the series; nothing, from its own start on, of what is new."""
        found = _nothing_of(series)
        known = self._delivered.get(name)
        if known is None or known.values.shape[1:] != series.values.shape[1:] or not len(known.values):
            return found
        at = np.fromiter((known.rows.get(key, -1) for key in keys), np.intp, len(keys))
        went_back = (known.values[at] > series.values).reshape(len(keys), -1).any(axis=1)
        rows = np.flatnonzero((at >= 0) & (known.start_ns[at] == series.start_ns) & ~went_back)
        found.values[rows] = known.values[at[rows]]
        found.until_ns[rows] = known.until_ns[at[rows]]
        if found.totals is not None and known.totals is not None:
            found.totals[rows] = known.totals[at[rows]]
        if found.maxima is not None and known.maxima is not None:
            found.maxima[rows] = known.maxima[at[rows]]
        return found


def _nothing_of(series: Series) -> Delivered:
    return Delivered(
        rows={},
        values=np.zeros_like(series.values),
        totals=None if series.totals is None else np.zeros_like(series.totals),
        maxima=None if series.maxima is None else np.zeros_like(series.maxima),
        until_ns=np.asarray(series.start_ns).copy(),
        start_ns=np.asarray(series.start_ns),
    )


def _settled(attempt: Attempt) -> Delivered:
    """Merge what was delivered now into what was before."""
    series, found = attempt.series, attempt.before
    rows = attempt.is_delivered
    found.values[rows] = series.values[rows]
    found.until_ns[rows] = series.time_ns
    if found.totals is not None and series.totals is not None:
        found.totals[rows] = series.totals[rows]
    if found.maxima is not None and series.maxima is not None:
        found.maxima[rows] = series.maxima[rows]
    found.rows = {key: at for at, key in enumerate(attempt.keys)}
    return found
