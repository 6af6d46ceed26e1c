"""Delta temporality: what was delivered is never told again, and what was not is told later."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otlp.reading import attributes_of, data_of, encoded, metrics_in
from otlp.shapes import START_NS, TIME_NS, counted, metric, series, snapshot
from sonde.exporters.otlp.metrics import MetricsEncoder

SECOND = 1_000_000_000


def encoder(size_max_bytes: int = 4_000_000) -> MetricsEncoder:
    return MetricsEncoder(temporality="delta", size_max_bytes=size_max_bytes)


def points(found: Sequence[Any]) -> list[tuple[Any, ...]]:
    return [
        (attributes_of(point).get("pid"), point.as_int, point.start_time_unix_nano, point.time_unix_nano)
        for each in metrics_in(found)
        for point in data_of(each).data_points
    ]


def test_the_first_is_from_the_series_own_start_and_the_next_from_there() -> None:
    made = encoder()
    first = encoded(snapshot(counted([5])), encoder=made)
    assert points(first) == [(0, 5, START_NS, TIME_NS)]
    later = TIME_NS + 5 * SECOND
    assert points(encoded(snapshot(counted([7], time_ns=later)), encoder=made)) == [(0, 2, TIME_NS, later)]
    (found,) = metrics_in(first)
    assert found.sum.aggregation_temporality == 1  # AGGREGATION_TEMPORALITY_DELTA
    assert found.sum.is_monotonic


def test_what_was_not_delivered_is_in_the_next_with_its_start() -> None:
    made = encoder()
    encoded(snapshot(counted([5])), encoder=made)
    for _ in made.requests(snapshot(counted([9], time_ns=TIME_NS + SECOND))):
        pass  # and it fails
    made.settle()
    later = TIME_NS + 2 * SECOND
    assert points(encoded(snapshot(counted([11], time_ns=later)), encoder=made)) == [(0, 6, TIME_NS, later)]


def test_a_request_that_fails_alone_is_told_later_alone() -> None:
    made = encoder(1_000)
    requests = list(made.requests(snapshot(counted([1] * 50))))
    assert len(requests) > 2
    for request in requests[1:]:
        request.delivered()
    made.settle()
    again = points(encoded(snapshot(counted([1] * 50, time_ns=TIME_NS + SECOND)), encoder=encoder_of(made)))
    told = {pid: count for pid, count, *_ in again}
    assert sum(told.values()) == requests[0].items
    assert [pid for pid, count in told.items() if count] == list(range(requests[0].items))


def encoder_of(made: MetricsEncoder) -> MetricsEncoder:
    made._size_max_bytes = 4_000_000
    return made


def test_a_metric_that_an_abandoned_snapshot_did_not_get_to_is_not_told_twice() -> None:
    made = encoder()
    both = (counted([5]), counted([6], of=metric(name="second")))
    encoded(snapshot(*both), encoder=made)
    next(iter(made.requests(snapshot(counted([7]))))).delivered()
    made.settle()
    assert sorted(count for _, count, *_ in points(encoded(snapshot(*both), encoder=made))) == [0, 5]


def test_a_series_that_began_again_is_told_from_its_new_start() -> None:
    made = encoder()
    encoded(snapshot(counted([100])), encoder=made)
    began, later = TIME_NS + SECOND, TIME_NS + 2 * SECOND
    again = encoded(snapshot(counted([3], start_ns=began, time_ns=later)), encoder=made)
    assert points(again) == [(0, 3, began, later)]
    back = encoded(snapshot(counted([1], start_ns=began, time_ns=later + 1)), encoder=made)
    assert points(back) == [(0, 1, began, later + 1)]


def test_series_come_go_and_change_places() -> None:
    made = encoder()
    encoded(snapshot(series(metric(), {"pid": [1, 2, 3]}, [10, 20, 30])), encoder=made)
    then = series(metric(), {"pid": [3, 9, 1]}, [31, 90, 15], time_ns=TIME_NS + SECOND)
    found = {pid: count for pid, count, *_ in points(encoded(snapshot(then), encoder=made))}
    assert found == {3: 1, 9: 90, 1: 5}


def test_gauges_and_up_down_counters_stay_what_they_are() -> None:
    """As OpenTelemetry's delta preference says."""
    made = encoder()
    parts = [series(metric("updown", name="u"), {}, [5]), series(metric("gauge", name="g"), {}, [5.0])]
    for _ in range(2):
        found = {each.name: each for each in metrics_in(encoded(snapshot(*parts), encoder=made))}
    assert found["u"].sum.data_points[0].as_int == 5
    assert found["u"].sum.aggregation_temporality == 2  # AGGREGATION_TEMPORALITY_CUMULATIVE
    assert found["g"].gauge.data_points[0].as_double == 5.0


def test_histograms_are_differences_of_buckets_with_a_maximum_only_when_it_is_known() -> None:
    of = metric("histogram", scale=1, total="t", maximum="m")
    made = encoder()

    def told(buckets: list[int], total: int, largest: int, at: int) -> Any:
        shape = series(of, {}, [buckets], totals=[total], maxima=[largest], time_ns=TIME_NS + at)
        (found,) = metrics_in(encoded(snapshot(shape), encoder=made))
        return found.exponential_histogram.data_points[0]

    assert told([1, 2, 0], 10, 3, 0).max == 3
    second = told([1, 5, 4], 40, 3, 1)
    assert (second.count, second.zero_count, list(second.positive.bucket_counts)) == (7, 0, [3, 4])
    assert second.sum == 30
    # The largest of all was before: the largest since then is not known.
    assert not second.HasField("max")
    assert told([1, 5, 5], 50, 9, 2).max == 9


def test_two_tables_may_have_a_metric_of_one_name() -> None:
    made = encoder()
    for at, expected in ((0, [5, 50]), (1, [0, 0])):
        parts = (counted([5], time_ns=TIME_NS + at), counted([50], time_ns=TIME_NS + at))
        assert [count for _, count, *_ in points(encoded(snapshot(*parts), encoder=made))] == expected


@settings(deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 9), min_size=4, max_size=4), st.booleans()), max_size=12))
@pytest.mark.parametrize("size_max", [1_000, 4_000_000])
def test_whatever_fails_the_differences_add_up_to_the_totals(
    size_max: int, steps: list[tuple[list[int], bool]]
) -> None:
    """Of each snapshot the first request arrives, or all of them; in the end what arrived is the total."""
    made, counts = encoder(size_max), np.zeros(40, np.int64)
    arrived: dict[int, int] = {}
    for at, (added, fails) in enumerate([*steps, ([0] * 4, False)]):
        counts[[at % 40, 3, 17, 39]] += added
        for number, request in enumerate(
            made.requests(snapshot(counted(counts.tolist(), time_ns=TIME_NS + at)))
        ):
            if fails and number:
                break
            request.delivered()
            for pid, count, *_ in points([_read(request.body)]):
                arrived[pid] = arrived.get(pid, 0) + count
        made.settle()
    assert [arrived[pid] for pid in range(40)] == counts.tolist()


def _read(body: bytes) -> Any:
    from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

    return ExportMetricsServiceRequest.FromString(body)


def test_a_metric_that_is_away_for_a_while_is_not_told_twice() -> None:
    """A probe that a reload switched off, and another on again, goes on with its counts."""
    made = encoder()
    other = counted([1], of=metric(name="other"))
    encoded(snapshot(counted([5]), other), encoder=made)
    encoded(snapshot(other), encoder=made)
    later = TIME_NS + 5 * SECOND
    assert points(encoded(snapshot(counted([7], time_ns=later)), encoder=made)) == [(0, 2, TIME_NS, later)]
