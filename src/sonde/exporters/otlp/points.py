"""Data points: the series of a metric, encoded, with their frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    NumberDataPoint,
    Sum,
)

from sonde.exporters.otlp.wire import EightByteFields, framed, framed_each, tag

if TYPE_CHECKING:
    import numpy.typing as npt

    from sonde.records.metrics import Metric, Series

    Array = npt.NDArray[Any]

_SUM_POINT = tag(Sum, "data_points")
_GAUGE_POINT = tag(Gauge, "data_points")
_HISTOGRAM_POINT = tag(ExponentialHistogram, "data_points")
_BUCKETS = tag(ExponentialHistogramDataPoint, "positive")

_TIMES = ("start_time_unix_nano", "time_unix_nano")
_INT_SUM = EightByteFields(NumberDataPoint, *_TIMES, "as_int")
_DOUBLE_SUM = EightByteFields(NumberDataPoint, *_TIMES, "as_double")
_INT_GAUGE = EightByteFields(NumberDataPoint, "time_unix_nano", "as_int")
_DOUBLE_GAUGE = EightByteFields(NumberDataPoint, "time_unix_nano", "as_double")
_HISTOGRAM = EightByteFields(ExponentialHistogramDataPoint, *_TIMES, "count", "zero_count", "zero_threshold")
_HISTOGRAM_SUM = EightByteFields(ExponentialHistogramDataPoint, "sum")
_HISTOGRAM_MAX = EightByteFields(ExponentialHistogramDataPoint, "max")


def number_points(series: Series, attributes: Sequence[bytes]) -> list[bytes]:
    """Encode the points of a counter, an up-down counter or a gauge: whole numbers as such, others as doubles."""
    values = series.scaled(series.values)
    is_int, is_gauge = values.dtype.kind in "iu", series.metric.kind == "gauge"
    times: dict[str, Any] = {"time_unix_nano": series.time_ns}
    if not is_gauge:
        times["start_time_unix_nano"] = starts_of(series)
    if is_int:
        # A count of 2**63 and more would take centuries.
        fields, value = _INT_GAUGE if is_gauge else _INT_SUM, {"as_int": values.astype(np.int64)}
    else:
        fields, value = _DOUBLE_GAUGE if is_gauge else _DOUBLE_SUM, {"as_double": values}
    fixed = fields.encode(len(series), **times, **value)
    return framed_each(_GAUGE_POINT if is_gauge else _SUM_POINT, map(bytes.__add__, fixed, attributes))


def starts_of(series: Series) -> Any:
    """Give the start times, none after the point's own: the wall clock may have been set back meanwhile."""
    return np.minimum(series.start_ns, series.time_ns)


# ---- histograms -----------------------------------------------------------------------------------------------


def zero_threshold(metric: Metric) -> float:
    """Give the upper bound of the kernel's bucket 0, up to which values are counted in OpenTelemetry's zero bucket.

    Bucket 0 takes the values 0 and 1 of the unit too (records/histogram.py), for which an exponential histogram has
    no bucket, or one further down: the zero bucket is [0, threshold], which is just what bucket 0 holds. So nothing
    is counted where it is not.
    """
    return float(2.0 ** (metric.exponent + 2.0**-metric.scale))


def first_offset(metric: Metric) -> int:
    """Give the index in OpenTelemetry of the kernel's bucket 0: index i covers (2**(i/2**scale), 2**((i+1)/2**scale)].

    The kernel's are of the unit 2**exponent, so that they begin exponent octaves further on. Raises ValueError where
    that is between two buckets.
    """
    offset = metric.exponent * 2.0**metric.scale
    if offset != int(offset):
        raise ValueError(
            f"{metric.name}: 2**{metric.exponent} is no bound of a bucket at scale {metric.scale}"
        )
    return int(offset)


def histogram_points(series: Series, attributes: Sequence[bytes]) -> list[bytes]:
    """Encode the points of a histogram: the buckets that hold something, exactly as the kernel counted them.

    The smallest value is not known and absent; so is the largest where ``maxima`` is masked, or nothing was counted.
    """
    counts = series.values.sum(axis=1, dtype=np.uint64)
    fixed = _HISTOGRAM.encode(
        len(series),
        start_time_unix_nano=starts_of(series),
        time_unix_nano=series.time_ns,
        count=counts,
        zero_count=series.values[:, 0] if series.values.shape[1] else 0,
        zero_threshold=zero_threshold(series.metric),
    )
    scale: bytes = ExponentialHistogramDataPoint(scale=series.metric.scale).SerializeToString()
    columns = [fixed, [scale] * len(series), _buckets(series), attributes]
    if series.totals is not None:
        columns.append(_HISTOGRAM_SUM.encode(len(series), sum=series.scaled(series.totals)))
    if series.maxima is not None:
        known = ~np.ma.getmaskarray(series.maxima) & (counts > 0)
        maxima = _HISTOGRAM_MAX.encode(len(series), max=np.ma.getdata(series.scaled(series.maxima)))
        columns.append([each if is_known else b"" for each, is_known in zip(maxima, known, strict=True)])
    return framed_each(_HISTOGRAM_POINT, map(b"".join, zip(*columns, strict=True)))


def _buckets(series: Series) -> list[bytes]:
    """Encode the buckets above the zero bucket, from the first that holds something to the last."""
    counts = series.values[:, 1:]
    if not counts.shape[1]:
        return [b""] * len(counts)
    is_used = counts != 0
    first = is_used.argmax(axis=1)
    end = counts.shape[1] - is_used[:, ::-1].argmax(axis=1)
    any_used = is_used.any(axis=1)
    offset = first_offset(series.metric) + 1
    message = ExponentialHistogramDataPoint.Buckets
    found = []
    for row, begin, stop, some in zip(counts, first.tolist(), end.tolist(), any_used.tolist(), strict=True):
        if not some:
            found.append(b"")
            continue
        buckets = message(offset=offset + begin, bucket_counts=row[begin:stop].tolist())
        found.append(framed(_BUCKETS, buckets.SerializeToString()))
    return found
