"""Snapshots become OTLP without loss: every request is read back and compared."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.metrics.v1.metrics_pb2 import AGGREGATION_TEMPORALITY_CUMULATIVE

from otlp.reading import attributes_of, data_of, encoded, metrics_in
from otlp.shapes import START_NS, TIME_NS, counted, metric, series, snapshot
from sonde.exporters.otlp.metrics import MetricsEncoder
from sonde.exporters.otlp.points import first_offset, zero_threshold
from sonde.records.histogram import bounds
from sonde.records.metrics import OVERFLOW, Snapshot

DURATION = metric("histogram", name="d", unit="s", factor=1e-9, scale=1, exponent=-30, total="t", maximum="m")


def only_metric(of: Snapshot) -> Any:
    (found,) = metrics_in(encoded(of))
    return found


def test_a_counter_is_a_cumulative_monotonic_sum_with_its_starts() -> None:
    starts = [START_NS + 7 * at for at in range(3)]
    counts = series(metric(), {"pid": [4, 5, 6]}, [2, 0, 2**62], start_ns=starts)
    found = only_metric(snapshot(counts))
    assert (found.name, found.unit, found.description) == ("sonde.test", "{call}", "Calls.")
    assert found.sum.is_monotonic
    assert found.sum.aggregation_temporality == AGGREGATION_TEMPORALITY_CUMULATIVE
    points = [
        (attributes_of(point)["pid"], point.as_int, point.start_time_unix_nano, point.time_unix_nano)
        for point in found.sum.data_points
    ]
    assert points == [(4, 2, starts[0], TIME_NS), (5, 0, starts[1], TIME_NS), (6, 2**62, starts[2], TIME_NS)]


def test_an_up_down_counter_goes_below_zero_and_is_not_monotonic() -> None:
    found = only_metric(snapshot(series(metric("updown"), {}, [-7])))
    assert not found.sum.is_monotonic
    assert [point.as_int for point in found.sum.data_points] == [-7]


def test_a_gauge_has_a_value_and_no_start() -> None:
    found = only_metric(snapshot(series(metric("gauge"), {}, [0.25])))
    (point,) = found.gauge.data_points
    assert (point.as_double, point.start_time_unix_nano, point.time_unix_nano) == (0.25, 0, TIME_NS)


def test_a_factor_brings_values_to_the_metric_s_unit() -> None:
    found = only_metric(snapshot(series(metric(unit="s", factor=1e-9), {}, [1_500_000_000])))
    assert [point.as_double for point in found.sum.data_points] == [1.5]


def test_a_start_after_the_point_s_own_time_is_not_sent() -> None:
    """The wall clock was set back meanwhile; receivers refuse such points."""
    found = only_metric(snapshot(counted([1], start_ns=TIME_NS + 5)))
    assert found.sum.data_points[0].start_time_unix_nano == TIME_NS


def test_masked_attributes_are_absent_and_others_have_their_types() -> None:
    attributes = {"text": ["a", None], "int": [None, 5], "flag": [True, False], "real": [0.5, None]}
    found = only_metric(snapshot(series(metric(), attributes, [1, 2])))
    assert [attributes_of(point) for point in found.sum.data_points] == [
        {"text": "a", "flag": True, "real": 0.5},
        {"int": 5, "flag": False},
    ]
    assert type(attributes_of(found.sum.data_points[0])["flag"]) is bool


def test_the_overflow_is_marked() -> None:
    attributes = {"pid": [5, None], OVERFLOW: [None, True]}
    found = only_metric(snapshot(series(metric(), attributes, [1, 2])))
    assert [attributes_of(point) for point in found.sum.data_points] == [{"pid": 5}, {OVERFLOW: True}]


@pytest.mark.parametrize(
    "name", ["evil\udcff\udcfe", "a\nb", "\x1b[31m", "lone\ud800", 'quote"\\', "naïve ☃"]
)
def test_names_that_are_no_text_become_text(name: str) -> None:
    """What no receiver could take, or a terminal would obey, is written as its escape; other text stays."""
    found = only_metric(snapshot(series(metric(), {"name": [name]}, [1]), resource={"host": name}))
    told = attributes_of(found.sum.data_points[0])["name"]
    assert told.isprintable()
    assert told == name or not name.isprintable()


def test_two_names_that_differ_in_invalid_bytes_stay_two_series() -> None:
    found = only_metric(snapshot(series(metric(), {"name": ["x\udcfe", "x\udcff"]}, [1, 2])))
    assert len({attributes_of(point)["name"] for point in found.sum.data_points}) == 2


def test_the_resource_and_the_scope_are_told() -> None:
    (request,) = encoded(
        snapshot(counted([1]), resource={"service.name": "sonde", "process.pid": 5, "no": None})
    )
    (resource,) = request.resource_metrics
    assert attributes_of(resource.resource) == {"service.name": "sonde", "process.pid": 5}
    assert resource.scope_metrics[0].scope.name == "sonde"
    assert resource.scope_metrics[0].scope.version


def test_attributes_of_the_same_series_are_encoded_once_and_forgotten_when_it_ends() -> None:
    encoder = MetricsEncoder(temporality="cumulative", size_max_bytes=4_000_000)
    for turn in range(20):
        of = series(metric(), {"pid": list(range(turn * 100, turn * 100 + 100))}, [1] * 100)
        encoded(snapshot(of), encoder=encoder)
    (cache,) = encoder._caches.values()
    assert len(cache) <= 2 * 100 + 100


# ---- histograms -----------------------------------------------------------------------------------------------


def bucket_bounds(point: Any) -> dict[tuple[float, float], int]:
    """Give the buckets that hold something by their bounds, as the specification defines these."""
    base = 2.0 ** (2.0**-point.scale)
    return {
        (base ** (point.positive.offset + at), base ** (point.positive.offset + at + 1)): count
        for at, count in enumerate(point.positive.bucket_counts)
        if count
    }


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2**40), min_size=2, max_size=88),
    st.integers(0, 4),
    st.integers(-40, 10),
)
def test_every_bucket_of_the_kernel_arrives_with_its_bounds(
    counts: list[int], scale: int, exponent: int
) -> None:
    of = metric("histogram", scale=scale, exponent=exponent, total="t", maximum="m")
    found = only_metric(snapshot(series(of, {}, [counts], totals=[sum(counts)], maxima=[9])))
    (point,) = found.exponential_histogram.data_points
    drawn = bounds(len(counts), scale, unit=2.0**exponent).tolist()
    expected = {(drawn[at], drawn[at + 1]): count for at, count in enumerate(counts) if count and at}
    assert [pytest.approx(each) for each in expected] == list(bucket_bounds(point))
    assert list(expected.values()) == list(bucket_bounds(point).values())
    assert point.count == sum(counts)
    assert point.zero_count == counts[0]
    assert point.zero_threshold == pytest.approx(drawn[1])
    assert point.HasField("sum")
    assert point.sum == sum(counts)
    assert not point.HasField("min")
    assert point.HasField("max") == bool(sum(counts))


def test_the_kernel_s_lowest_bucket_is_the_zero_bucket() -> None:
    """Nanoseconds 0 and 1 are in it, and nothing else; so is its upper bound the threshold of zero."""
    found = only_metric(snapshot(series(DURATION, {}, [[3, 0, 5, 0]], totals=[10**9], maxima=[7])))
    (point,) = found.exponential_histogram.data_points
    assert (point.zero_count, point.count, point.sum) == (3, 8, pytest.approx(1.0))
    assert 1e-9 < point.zero_threshold < 2e-9
    assert point.zero_threshold == zero_threshold(DURATION) == pytest.approx(2**-29.5)
    assert point.positive.offset == -60 + 2
    assert first_offset(DURATION) == -60
    assert point.max == pytest.approx(7e-9)


def test_an_empty_histogram_has_no_buckets_and_no_maximum() -> None:
    found = only_metric(snapshot(series(DURATION, {}, [[0] * 88], totals=[0], maxima=[0])))
    (point,) = found.exponential_histogram.data_points
    assert (point.count, point.zero_count, list(point.positive.bucket_counts)) == (0, 0, [])
    assert not point.HasField("max")


def test_a_unit_between_two_buckets_is_refused() -> None:
    with pytest.raises(ValueError, match="no bound of a bucket"):
        first_offset(metric("histogram", scale=-1, exponent=-5))


# ---- shapes that nobody thought of ------------------------------------------------------------------------------


def test_numbers_of_several_types_stay_apart() -> None:
    """True, 1 and 1.0 are equal to Python, and different attributes to OpenTelemetry."""
    told = [True, 1, 1.0, False, 0, 0.0, None]
    (request,) = encoded(snapshot(series(metric(), {"number": told}, range(len(told)))))
    points = [point for each in metrics_in([request]) for point in data_of(each).data_points]

    found = [attributes_of(point).get("number") for point in points]
    assert told == found
    assert [type(each) for each in told] == [type(each) for each in found]


VALUES = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.floats(allow_nan=False)


@settings(deadline=None)
@given(st.data())
def test_any_series_come_back(data: st.DataObject) -> None:
    rows = data.draw(st.integers(1, 20))
    names = data.draw(st.lists(st.text(min_size=1, max_size=8), max_size=4, unique=True))
    attributes = {name: data.draw(st.lists(VALUES, min_size=rows, max_size=rows)) for name in names}
    counts = data.draw(st.lists(st.integers(0, 2**63 - 1), min_size=rows, max_size=rows))
    size_max = data.draw(st.sampled_from([1_000, 4_000_000]))
    requests = encoded(snapshot(series(metric(), attributes, counts)), size_max_bytes=size_max)
    points = [point for each in metrics_in(requests) for point in data_of(each).data_points]
    if size_max > 1_000:
        assert [point.as_int for point in points] == counts
        for at, point in enumerate(points):
            expected = {name: each[at] for name, each in attributes.items() if each[at] is not None}
            told = attributes_of(point)
            assert len(told) == len(expected)
            for value, found in zip(expected.values(), told.values(), strict=True):
                if isinstance(value, int) and not isinstance(value, bool):
                    assert found == (value if value < 2**63 else value - 2**64)
                elif not isinstance(value, str) or value.isprintable():
                    assert found == value
                assert type(found) is type(value)


def test_numpy_s_own_columns_do_as_well_as_objects() -> None:
    plain_column = np.array([1, 2], np.uint32)
    made = series(metric(), {}, [5, 6])
    object.__setattr__(made, "attributes", {"pid": plain_column})
    found = only_metric(snapshot(made))
    assert [attributes_of(point) for point in found.sum.data_points] == [{"pid": 1}, {"pid": 2}]
