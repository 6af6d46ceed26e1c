"""Names as Prometheus spells them, by OpenTelemetry's rules for it (specification, "Prometheus and OpenMetrics")."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sonde.records.metrics import Kind, Metric

TYPES: dict[Kind, str] = {
    "counter": "counter",
    "updown": "gauge",
    "gauge": "gauge",
    "histogram": "histogram",
}

UNITS = {
    "d": "days",
    "h": "hours",
    "min": "minutes",
    "s": "seconds",
    "ms": "milliseconds",
    "us": "microseconds",
    "ns": "nanoseconds",
    "By": "bytes",
    "KiBy": "kibibytes",
    "MiBy": "mebibytes",
    "GiBy": "gibibytes",
    "TiBy": "tibibytes",
    "KBy": "kilobytes",
    "kBy": "kilobytes",
    "MBy": "megabytes",
    "GBy": "gigabytes",
    "TBy": "terabytes",
    "m": "meters",
    "V": "volts",
    "A": "amperes",
    "J": "joules",
    "W": "watts",
    "g": "grams",
    "Cel": "celsius",
    "Hz": "hertz",
    "%": "percent",
}
PER = {
    "s": "second",
    "m": "minute",
    "min": "minute",
    "h": "hour",
    "d": "day",
    "w": "week",
    "mo": "month",
    "y": "year",
}

SUFFIXES_OF_HISTOGRAMS = ("_bucket", "_count", "_sum")
RESERVED_LABELS = ("le", "quantile")


def metric_name(metric: Metric, *, serial: int = 1) -> str:
    """Spell a metric's name: dots become ``_``, the unit a word at the end, and a counter ends in ``_total``.

    ``serial`` sets apart what would have the name of another metric. A gauge whose name would end as a counter or a
    histogram's series do gets ``_current``: promtool refuses ``process_thread_count`` for anything else.
    """
    words = [word for word in re.split(r"[^a-zA-Z0-9]+", metric.name) if word]
    is_counter = metric.kind == "counter"
    if metric.kind in ("counter", "histogram"):
        while words[-1:] == ["total"]:
            words.pop()
    if serial > 1:
        words.append(str(serial))
    for suffix in unit_suffixes(metric.unit, is_gauge=TYPES[metric.kind] == "gauge"):
        if f"_{suffix}_" not in f"_{'_'.join(words)}_":
            words.append(suffix)
    name = "_".join(words) or "unnamed"
    if name[0].isdigit():
        name = f"_{name}"
    if is_counter:
        return f"{name}_total"
    if metric.kind != "histogram" and name.endswith(("_total", *SUFFIXES_OF_HISTOGRAMS)):
        return f"{name}_current"
    return name


def unit_suffixes(unit: str, *, is_gauge: bool) -> list[str]:
    """Spell a unit of UCUM: ``By/s`` is ``bytes`` and ``per_second``, ``{call}`` nothing, ``1`` of a gauge ``ratio``."""
    unit = re.sub(r"\{[^}]*\}", "", unit).strip()
    if unit == "1":
        return ["ratio"] if is_gauge else []
    above, _, below = unit.partition("/")
    counted = "" if above == "1" else _spelled(UNITS.get(above, above))
    per = _spelled(PER.get(below, below))
    return [suffix for suffix in (counted, f"per_{per}" if per else "") if suffix]


def _spelled(text: str) -> str:
    return "_".join(word for word in re.split(r"[^a-zA-Z0-9]+", text) if word)


def label_name(attribute: str) -> str:
    """Spell an attribute's name as a label's; those that Prometheus keeps for itself get a ``_`` at the end."""
    name = re.sub(r"[^a-zA-Z0-9]+", "_", attribute) or "_"
    if name[0].isdigit():
        name = f"key_{name}"
    return f"{name}_" if name in RESERVED_LABELS else name


def labels_of(attributes: Iterable[str]) -> dict[str, list[str]]:
    """Give the labels' names, each with the attributes that share it, in their order by name."""
    found: dict[str, list[str]] = {}
    for attribute in sorted(attributes):
        found.setdefault(label_name(attribute), []).append(attribute)
    return found


def samples_of(name: str, kind: Kind) -> set[str]:
    """Give the names of all series that a metric of this name has."""
    if kind != "histogram":
        return {name}
    return {name, *(name + suffix for suffix in SUFFIXES_OF_HISTOGRAMS)}


def family_names(metrics: Iterable[Metric], *, taken: Iterable[str] = ()) -> dict[tuple[str, Kind, str], str]:
    """Give every metric, by name, kind and unit, a Prometheus name that no other has, nor is ``taken``.

    Of those that would share one, the first by name keeps it and the others get a number: nothing is left out, and
    the order in which they are given does not matter.
    """
    found: dict[tuple[str, Kind, str], str] = {}
    used = set(taken)
    by_key = {(metric.name, metric.kind, metric.unit): metric for metric in metrics}
    for key in sorted(by_key):
        for serial in count(1):
            name = metric_name(by_key[key], serial=serial)
            if used.isdisjoint(samples := samples_of(name, key[1])):
                break
        found[key] = name
        used |= samples
    return found
