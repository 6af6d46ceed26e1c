"""Families: what Prometheus calls a metric with all its series, from a snapshot."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, AnyStr

from sonde.exporters.prometheus.names import TYPES, family_names
from sonde.exporters.text import visible
from sonde.records.metrics import Metric, Series, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sonde.records.metrics import Array

TARGET = Metric("target", "gauge", "", "Attributes of the resource that all other series are of.", value="")
TARGET_NAME = "target_info"


@dataclass(frozen=True, slots=True)
class Family:
    """A metric under its Prometheus name; ``type`` is Prometheus's word for its kind, ``parts`` hold its series."""

    name: str
    type: str
    help: str
    parts: tuple[Series, ...]


def families_of(snapshot: Snapshot) -> list[Family]:
    """Give a snapshot's metrics that have series, in its order, after the resource's attributes."""
    found: dict[str, Family] = {}
    names = family_names((series.metric for series in snapshot.series), taken=(TARGET_NAME,))
    if snapshot.resource:
        found[TARGET_NAME] = Family(TARGET_NAME, "gauge", TARGET.description, (_target(snapshot),))
    for series in snapshot.series:
        if not len(series):
            continue
        metric = series.metric
        name = names[metric.name, metric.kind, metric.unit]
        if known := found.get(name):
            found[name] = replace(known, parts=(*known.parts, series))
        else:
            help_text = visible(metric.description or metric.name)
            found[name] = Family(name, TYPES[metric.kind], help_text, (series,))
    return list(found.values())


def _target(snapshot: Snapshot) -> Series:
    import numpy as np

    columns = {}
    for name, value in snapshot.resource.items():
        columns[name] = np.empty(1, dtype=object)
        columns[name][0] = value
    one = np.ones(1, dtype=np.uint64)
    return Series(TARGET, columns, one, np.zeros(1, np.int64), snapshot.time_ns)


def distinct(
    parts: tuple[Series, ...], labels_of: Callable[[Series], list[AnyStr]]
) -> Iterator[tuple[Series, list[AnyStr]]]:
    """Give each part with the labels of its series, no labels twice: a Prometheus server would drop the second.

    Series whose labels are written the same are added up; the newest of a gauge stands. A second part that repeats
    labels of the first describes the same thing, and what it repeats is left out.
    """
    import numpy as np

    seen: set[AnyStr] = set()
    for part in parts:
        labels = labels_of(part)
        if len(set(labels)) < len(labels):
            part, labels = _added_up(part, labels)
        if seen and not seen.isdisjoint(labels):
            rows = np.array([label not in seen for label in labels])
            part, labels = part.picking(rows), [label for label in labels if label not in seen]
        if len(parts) > 1:
            seen.update(labels)
        yield part, labels


def _added_up(series: Series, labels: list[AnyStr]) -> tuple[Series, list[AnyStr]]:
    import numpy as np

    places: dict[AnyStr, int] = {}
    into = np.array([places.setdefault(label, len(places)) for label in labels])
    _, first = np.unique(into, return_index=True)

    def added(column: Array) -> Array:
        sums = np.zeros((len(places), *column.shape[1:]), column.dtype)
        if series.metric.kind == "gauge":
            sums[into] = column
        else:
            np.add.at(sums, into, column)
        return sums

    start_ns = np.full(len(places), np.iinfo(np.int64).max)
    np.minimum.at(start_ns, into, series.start_ns)
    merged = replace(
        series,
        attributes={name: column[first] for name, column in series.attributes.items()},
        values=added(series.values),
        start_ns=start_ns,
        totals=None if series.totals is None else added(series.totals),
        maxima=None,
    )
    return merged, list(places)
