"""Requests stay below the size that a receiver takes, and hold everything once."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otlp.reading import attributes_of, data_of, encoded, metrics_in, points_in
from otlp.shapes import counted, metric, series, snapshot
from sonde.exporters.otlp.metrics import MetricsEncoder


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 400), max_size=5), st.integers(1_000, 20_000))
def test_every_point_is_in_one_request_and_each_fits(sizes: list[int], size_max: int) -> None:
    parts = [counted(range(size), of=metric(name=f"m{at}")) for at, size in enumerate(sizes)]
    requests = encoded(snapshot(*parts, resource={"service.name": "sonde"}), size_max_bytes=size_max)
    found: dict[str, list[int]] = {}
    for each in metrics_in(requests):
        found.setdefault(each.name, []).extend(point.as_int for point in data_of(each).data_points)
    assert found == {f"m{at}": list(range(size)) for at, size in enumerate(sizes) if size}
    assert all(each.resource_metrics[0].resource.attributes for each in requests)


def test_requests_are_filled() -> None:
    requests = encoded(snapshot(counted(range(5_000))), size_max_bytes=20_000)
    assert all(each.ByteSize() > 19_000 for each in requests[:-1])
    assert points_in(requests) == 5_000


def test_a_point_that_fits_into_no_request_is_left_out_and_told() -> None:
    made = snapshot(series(metric(), {"name": ["a", "b" * 2_000, "c"]}, [1, 2, 3]))
    encoder = MetricsEncoder(temporality="cumulative", size_max_bytes=1_000)
    requests = list(encoder.requests(made))
    assert sum(each.too_large for each in requests) == 1
    assert sum(each.items for each in requests) == 2
    kept = [
        point for each in metrics_in(encoded(made, size_max_bytes=1_000)) for point in each.sum.data_points
    ]
    assert [attributes_of(point)["name"] for point in kept] == ["a", "c"]


def test_nothing_to_tell_is_no_request() -> None:
    assert encoded(snapshot()) == []
    assert encoded(snapshot(counted([]))) == []


@pytest.mark.parametrize("count", [127, 128, 16_383, 16_384, 70_000])
def test_lengths_of_every_size_are_read_back(count: int) -> None:
    """A length is one byte up to 127, two up to 16,383, and so on, at every level of a request."""
    (found,) = metrics_in(encoded(snapshot(series(metric(), {"name": ["x" * count]}, [1]))))
    assert attributes_of(found.sum.data_points[0])["name"] == "x" * count
