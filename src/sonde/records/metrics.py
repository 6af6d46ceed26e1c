"""The metric model: what a table's rows become for machines, as columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from sonde.records.model import Values

    Array = npt.NDArray[Any]
    Starts = npt.NDArray[np.int64]

Kind = Literal["counter", "updown", "gauge", "histogram"]

OVERFLOW = "otel.metric.overflow"
"""The attribute, true, of the one series that takes what is beyond a metric's bound (OpenTelemetry's SDK specification)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric that a table declares: name, unit (UCUM) and attributes as OpenTelemetry writes them.

    ``value`` is the column that is counted; a histogram's is its buckets, base-2 exponential at ``scale``, bucket i
    being (2**(i/2**scale), 2**((i+1)/2**scale)] in the column's unit, with the columns ``total`` (sum) and
    ``maximum`` beside it. ``exponent`` is the unit's power of two: a column in units of 2**-30 s has -30 and the unit
    ``s``. ``factor`` brings any other column to the metric's unit (1e-9 for ns to s), and a histogram's ``total`` and
    ``maximum``. ``attributes`` are names, each with the column that it is taken from.
    """

    name: str
    kind: Kind
    unit: str
    description: str
    value: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    factor: float = 1.0
    scale: int = 0
    exponent: int = 0
    total: str = ""
    maximum: str = ""


DURATION_SCALE, DURATION_EXPONENT = 1, -30
"""The kernel's histograms of durations: their scale, their unit as a power of two of a second (histogram.bpf.h)."""


def durations(
    name: str, description: str, attributes: Mapping[str, str] | None = None, *, column: str = "duration"
) -> Metric:
    """Make a metric, in seconds, of a histogram of the kernel's: ``COLUMN_buckets``, ``COLUMN_sum_ns``, ``COLUMN_max_ns``."""
    return Metric(
        name=name,
        kind="histogram",
        unit="s",
        description=description,
        value=f"{column}_buckets",
        attributes=attributes or {},
        factor=1e-9,
        scale=DURATION_SCALE,
        exponent=DURATION_EXPONENT,
        total=f"{column}_sum_ns",
        maximum=f"{column}_max_ns",
    )


@dataclass(frozen=True, slots=True)
class Series:
    """All series of one metric at one moment, as columns of one length.

    ``attributes`` holds a column for each attribute, masked where a series has none. ``values`` are counts as the
    kernel has them (uint64; int64 for updown; float64 for gauges), of shape (n,), or (n, buckets) for a histogram,
    whose sums and maxima (column's unit, before ``factor``) stand beside. ``start_ns`` is when each series' count
    began, ``time_ns`` when it was read; both are the wall clock's, in ns since 1970. Values are cumulative.
    """

    metric: Metric
    attributes: Mapping[str, Values]
    values: Array
    start_ns: Starts
    time_ns: int
    totals: Array | None = None
    maxima: Array | None = None

    def __len__(self) -> int:
        return len(self.values)

    def picking(self, rows: Any) -> Series:
        """Give some of the series: ``rows`` is an index array, a mask or a slice."""
        return replace(
            self,
            attributes={name: column[rows] for name, column in self.attributes.items()},
            values=self.values[rows],
            start_ns=self.start_ns[rows],
            totals=None if self.totals is None else self.totals[rows],
            maxima=None if self.maxima is None else self.maxima[rows],
        )

    def scaled(self, values: Array) -> Array:
        """Give values, sums or maxima in the metric's unit."""
        return values if self.metric.factor == 1 else values * self.metric.factor


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What an exporter gets: all metrics at one moment, and the attributes of the resource that they are of."""

    series: tuple[Series, ...]
    time_ns: int
    resource: Mapping[str, Any] = field(default_factory=dict)
