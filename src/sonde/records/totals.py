"""Cumulative series of a metric, added up from what was added to a table's rows."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from sonde.records.metrics import OVERFLOW, Metric, Series
from sonde.records.model import RecordBatch

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Array = npt.NDArray[Any]
    Key = tuple[Any, ...]

SERIES_MAX = 2_000
"""OpenTelemetry's default bound on the series of a metric (SDK specification, cardinality limits)."""

IDLE_NS = 600 * 1_000_000_000
"""A series that has not changed for so long may give its place to a new one, where there is none free."""


class Totals:
    """Adds up one metric by its attributes; counts never go back, whatever happens to the rows below.

    ``add`` takes batches of differences (TableSource). ``attributes`` are columns beside the metric's own: who, as
    a rule. There are ``series_max`` series at most: what is beyond goes into one that says so (``OVERFLOW``), and
    ``folded`` counts the additions to it. Memory is bounded by that. ``ended`` counts series that are gone: theirs was
    a process, say, which has ended.
    """

    def __init__(
        self,
        metric: Metric,
        *,
        attributes: Sequence[str] = (),
        series_max: int = SERIES_MAX,
        idle_ns: int = IDLE_NS,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.metric = metric
        self._columns = {name: name for name in attributes} | dict(metric.attributes)
        self._series_max = max(1, series_max)
        self._idle_ns = idle_ns
        self._clock_ns = clock_ns
        self._places: dict[Key, int] = {}
        self._free: list[int] = []
        self._overflow: int | None = None
        self._values: Array | None = None
        self._totals: Array | None = None
        self._maxima: Array | None = None
        self._start_ns: Array | None = None
        self._changed_ns: Array | None = None
        self._since_ns = clock_ns()
        self._idle_from_ns = 0
        self.folded = self.ended = 0

    def __len__(self) -> int:
        return len(self._places) + (self._overflow is not None)

    # ---- adding ---------------------------------------------------------------------------------------------

    def add(self, batch: RecordBatch) -> None:
        """Add a batch of differences; counts that were sampled stand for ``batch.scale`` each."""
        import numpy as np

        now_ns = batch.time_ns or self._clock_ns()
        if len(batch):
            values = np.ma.getdata(batch[self.metric.value])
            counts = values.reshape(len(values), -1).any(axis=1)
            rows = np.flatnonzero(counts)
            if len(rows):
                self._add_rows(batch.picking(rows), values[rows] * values.dtype.type(batch.scale), now_ns)
        self._since_ns = now_ns

    def _add_rows(self, batch: RecordBatch, values: Array, now_ns: int) -> None:
        import numpy as np

        if self._values is None:
            self._make_room(values)
        places = np.array([self._place(key, now_ns) for key in self._keys(batch)], dtype=np.intp)
        self._grow(int(places.max()) + 1)
        assert self._values is not None
        np.add.at(self._values, places, values)
        if self._totals is not None:
            added = np.ma.filled(batch[self.metric.total], 0) * np.uint64(batch.scale)
            np.add.at(self._totals, places, added.astype(self._totals.dtype))
        if self._maxima is not None:
            largest = np.ma.filled(batch[self.metric.maximum], 0)
            np.maximum.at(self._maxima, places, largest.astype(self._maxima.dtype))

    def _keys(self, batch: RecordBatch) -> list[Key | None]:
        """Give each row's attributes as a tuple, None for absent ones; a row that is for all others has none."""
        columns = [batch[column].tolist() for column in self._columns.values()]
        keys: list[Key | None] = list(zip(*columns, strict=True)) if columns else [()] * len(batch)
        if "is_other" in batch.columns:
            for at in batch["is_other"].nonzero()[0].tolist():
                keys[at] = None
        return keys

    # ---- places ---------------------------------------------------------------------------------------------

    def _place(self, key: Key | None, now_ns: int) -> int:
        """Give the place of a series, made where there is room."""
        assert self._changed_ns is not None
        found = self._places.get(key) if key is not None else None
        if found is not None:
            # At once: another row of this batch must not take the place away.
            self._changed_ns[found] = now_ns
            return found
        # One place is the overflow's.
        full = len(self._places) >= self._series_max - 1
        if key is None or (full and not self._retire_idle(now_ns)):
            return self._overflow_place(now_ns)
        place = self._new_place(now_ns)
        self._places[key] = place
        return place

    def _overflow_place(self, now_ns: int) -> int:
        if self._overflow is None:
            self._overflow = self._new_place(now_ns)
        self.folded += 1
        return self._overflow

    def _new_place(self, now_ns: int) -> int:
        place = self._free.pop() if self._free else len(self)
        self._grow(place + 1)
        assert self._start_ns is not None
        assert self._changed_ns is not None
        # Its count began after the read before this one.
        self._start_ns[place] = self._since_ns
        self._changed_ns[place] = now_ns
        return place

    def _retire_idle(self, now_ns: int) -> bool:
        """Move the series that has not changed for longest into the overflow, if it has been idle long enough."""
        if not self._places or now_ns < self._idle_from_ns:
            return False
        assert self._changed_ns is not None
        changed_ns = self._changed_ns.tolist()
        key = min(self._places, key=lambda each: changed_ns[self._places[each]])
        # Looked for again when this one may be idle, not with every new series.
        self._idle_from_ns = changed_ns[self._places[key]] + self._idle_ns
        if now_ns < self._idle_from_ns:
            return False
        place = self._places[key]
        overflow = self._overflow_place(now_ns)
        assert self._values is not None
        self._values[overflow] += self._values[place]
        if self._totals is not None:
            self._totals[overflow] += self._totals[place]
        if self._maxima is not None:
            self._maxima[overflow] = max(self._maxima[overflow], self._maxima[place])
        self.end([key])
        return True

    def keys(self) -> list[dict[str, Any]]:
        """Give the attributes of every series but the overflow."""
        return [dict(zip(self._columns, key, strict=True)) for key in self._places]

    def end(self, keys: Sequence[Key]) -> None:
        """End series: they are in no later ``series``."""
        for key in keys:
            place = self._places.pop(key)
            for column in (self._values, self._totals, self._maxima):
                if column is not None:
                    column[place] = 0
            self._free.append(place)

    def end_where(self, ended: Callable[[dict[str, Any]], bool], *, idle_ns: int = 0) -> int:
        """End the series whose attributes are of something that has ended; gives how many.

        Asked are those that have not changed for ``idle_ns``: what has just counted is exported once more.
        """
        if self._changed_ns is None:
            return 0
        is_idle = (self._changed_ns <= self._clock_ns() - idle_ns).tolist()
        gone = [
            key
            for key, place in self._places.items()
            if is_idle[place] and ended(dict(zip(self._columns, key, strict=True)))
        ]
        self.end(gone)
        self.ended += len(gone)
        return len(gone)

    def shift(self, step_ns: int) -> None:
        """Move all times: the wall clock was set by so much, and a count must not begin after it was read."""
        self._since_ns += step_ns
        self._idle_from_ns += step_ns
        if self._start_ns is not None and self._changed_ns is not None:
            self._start_ns += step_ns
            self._changed_ns += step_ns

    # ---- room -----------------------------------------------------------------------------------------------

    def _make_room(self, values: Array) -> None:
        import numpy as np

        kind = {"u": np.uint64, "i": np.int64}.get(values.dtype.kind, np.float64)
        self._values = np.zeros((0, *values.shape[1:]), kind)
        self._totals = np.zeros(0, np.uint64) if self.metric.total else None
        self._maxima = np.zeros(0, np.uint64) if self.metric.maximum else None
        self._start_ns = np.zeros(0, np.int64)
        self._changed_ns = np.zeros(0, np.int64)

    def _grow(self, places: int) -> None:
        import numpy as np

        assert self._values is not None
        if places <= len(self._values):
            return
        room = min(self._series_max + 1, max(16, places, 2 * len(self._values)))
        for name in ("_values", "_totals", "_maxima", "_start_ns", "_changed_ns"):
            column = getattr(self, name)
            if column is not None:
                more = np.zeros((room - len(column), *column.shape[1:]), column.dtype)
                setattr(self, name, np.concatenate([column, more]))

    # ---- reading --------------------------------------------------------------------------------------------

    def series(self, time_ns: int) -> Series:
        """Give all series, cumulative, as of ``time_ns``; copies, which later additions do not change."""
        import numpy as np

        keys = list(self._places)
        places = [self._places[key] for key in keys]
        if self._overflow is not None:
            places.append(self._overflow)
        attributes: dict[str, Any] = {}
        for at, name in enumerate(self._columns):
            attributes[name] = _column([key[at] for key in keys], len(places))
        if self._overflow is not None:
            is_overflow = np.arange(len(places)) >= len(keys)
            attributes[OVERFLOW] = np.ma.masked_array(is_overflow.astype(object), mask=~is_overflow)
        values = self._values if self._values is not None else np.zeros(0, np.uint64)
        start_ns = self._start_ns if self._start_ns is not None else np.zeros(0, np.int64)
        return Series(
            self.metric,
            attributes,
            values[places],
            start_ns[places],
            time_ns,
            totals=self._totals[places] if self._totals is not None else None,
            maxima=self._maxima[places] if self._maxima is not None else None,
        )


def _column(values: list[Any], length: int) -> np.ma.MaskedArray[Any, Any]:
    """Make a column of Python values, masked where there is none, and longer by what has none."""
    import numpy as np

    column = np.empty(length, dtype=object)
    column[: len(values)] = values
    mask = np.ones(length, dtype=bool)
    mask[: len(values)] = [value is None for value in values]
    found: np.ma.MaskedArray[Any, Any] = np.ma.masked_array(column, mask=mask)
    return found
