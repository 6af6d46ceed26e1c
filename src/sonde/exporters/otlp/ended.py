"""Series that ended before anybody heard of their last counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from sonde.exporters.otlp.attributes import keys_of, names_of

if TYPE_CHECKING:
    from sonde.records.metrics import Series, Snapshot

    Key = tuple[Any, ...]
    Shape = tuple[Any, ...]


def points_of(snapshot: Snapshot) -> int:
    """Count the points of a snapshot."""
    return sum(map(len, snapshot.series))


def carrying(older: Snapshot, newer: Snapshot, *, ended_max: int) -> tuple[Snapshot, int]:
    """Give the newer snapshot with the counts of series that only the older has, and how many were too many.

    The newer has everything else of the older, for counts are cumulative. What is gone from it (a process) would
    lack in the receiver's totals if the older was never delivered. Gauges of what is gone say nothing.
    """
    present = _keys_by_shape(newer)
    place = {_shape(each): at for at, each in reversed(list(enumerate(newer.series)))}
    series = list(newer.series)
    room, lost = ended_max, 0
    for before in older.series:
        if before.metric.kind == "gauge" or not len(before):
            continue
        shape = _shape(before)
        ended = _missing(before, present.get(shape, []))
        lost += max(0, len(ended) - room)
        ended = ended[:room]
        room -= len(ended)
        if ended and shape in place:
            series[place[shape]] = _together(series[place[shape]], before, ended)
        elif ended:
            series.append(_together(before.picking(slice(0)), before, ended))
    return replace(newer, series=tuple(series)), lost


def without_first(snapshot: Snapshot, points: int) -> Snapshot:
    """Give a snapshot without so many of its points, counted from the front."""
    series = []
    for each in snapshot.series:
        series.append(each.picking(slice(min(points, len(each)), None)))
        points = max(0, points - len(each))
    return replace(snapshot, series=tuple(series))


def _shape(series: Series) -> Shape:
    """Tell what can be put into the same columns."""
    columns = series.values.shape[1:], series.totals is None, series.maxima is None
    return series.metric.name, series.metric.kind, names_of(series), columns


def _keys_by_shape(snapshot: Snapshot) -> dict[Shape, list[list[Key]]]:
    found: dict[Shape, list[list[Key]]] = {}
    for series in snapshot.series:
        found.setdefault(_shape(series), []).append(keys_of(series))
    return found


def _missing(older: Series, newer: list[list[Key]]) -> list[int]:
    """Give the rows whose keys are in none of the lists; none, and quickly, where one has just the same."""
    keys = keys_of(older)
    if keys in newer:
        return []
    present = set().union(*newer)
    return [at for at, key in enumerate(keys) if key not in present]


def _together(newer: Series, older: Series, rows: Sequence[int]) -> Series:
    """Append rows of another moment of the same metric."""
    chosen = np.asarray(rows)
    attributes = {}
    for name in dict.fromkeys((*newer.attributes, *older.attributes)):
        attributes[name] = np.ma.concatenate(  # type: ignore[no-untyped-call]
            [_column(newer, name, len(newer)), _column(older, name, len(older))[chosen]]
        )

    def joined(one: Any, other: Any) -> Any:
        return None if one is None or other is None else np.concatenate([one, other[chosen]])

    return replace(
        newer,
        attributes=attributes,
        values=joined(newer.values, older.values),
        start_ns=joined(newer.start_ns, older.start_ns),
        totals=joined(newer.totals, older.totals),
        maxima=joined(newer.maxima, older.maxima),
    )


def _column(series: Series, name: str, length: int) -> Any:
    """Give a column of attributes as Python's values, masked where absent; all of it where it is not there."""
    found = series.attributes.get(name)
    if found is None:
        return np.ma.masked_all(length, dtype=object)  # type: ignore[no-untyped-call]
    return np.ma.masked_array(np.ma.getdata(found).astype(object), mask=np.ma.getmaskarray(found))
