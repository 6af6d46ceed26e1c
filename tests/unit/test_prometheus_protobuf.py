"""The protobuf format, read back by ``protobuf`` and client_model's messages."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import prometheus_messages as messages
from made_series import BUCKETS, CALLS, DURATION, START_NS, column, many, series, snapshot
from sonde.exporters.prometheus import wire
from sonde.exporters.prometheus.families import families_of
from sonde.exporters.prometheus.protobuf import write_protobuf
from sonde.exporters.text import unambiguous
from sonde.records.metrics import Metric, Snapshot

NAME = "process.executable.name"


def read(taken: Snapshot) -> dict[str, Any]:
    pieces = itertools.chain.from_iterable(
        write_protobuf(family, classic_buckets=26) for family in families_of(taken)
    )
    return messages.families(b"".join(piece for piece, _ in pieces))


def native_counts(histogram: Any) -> dict[int, int]:
    """Give the count of each native bucket, as Prometheus's decoder finds them."""
    found, index, count = {}, 0, 0
    deltas = iter(histogram.positive_delta)
    for at, span in enumerate(histogram.positive_span):
        assert at == 0 or span.offset > 0
        index += span.offset
        for _ in range(span.length):
            count += next(deltas)
            found[index] = count
            index += 1
    assert next(deltas, None) is None
    return found


def test_a_counter_has_its_value_and_its_beginning() -> None:
    family = read(snapshot(series(CALLS, {NAME: ["cat", None]}, [3, 5])))["sonde_syscall_calls_total"]
    assert (family.help, family.type) == ("System calls.", messages.COUNTER)
    first, second = family.metric
    assert (messages.labels(first), first.counter.value) == ({"process_executable_name": "cat"}, 3)
    assert (messages.labels(second), second.counter.value) == ({}, 5)
    began = first.counter.created_timestamp
    assert began.seconds * 10**9 + began.nanos == START_NS
    assert not first.HasField("timestamp_ms")


def test_a_gauge_may_be_below_zero() -> None:
    threads = Metric("threads", "updown", "{thread}", "", value="")
    family = read(snapshot(series(threads, {}, np.array([-7]))))["threads"]
    assert (family.type, family.metric[0].gauge.value, family.help) == (messages.GAUGE, -7, "threads")


def test_a_native_histogram_has_every_bucket_of_the_kernels() -> None:
    """Prometheus's bucket i of schema 1 ends at 2**(i/2) s; the kernel's bucket 0 is the zero bucket."""
    counts = np.zeros((1, BUCKETS), np.uint64)
    counts[0, [0, 1, 4, 60, 87]] = [7, 1, 2**40, 3, 5]
    (metric,) = read(snapshot(series(DURATION, {}, counts, [2_500_000_000])))[
        "sonde_syscall_duration_seconds"
    ].metric
    histogram = metric.histogram
    assert (histogram.schema, histogram.zero_count, histogram.zero_threshold) == (1, 7, 2**-29.5)
    filled = {index: count for index, count in native_counts(histogram).items() if count}
    assert filled == {-60 + bucket + 1: count for bucket, count in [(1, 1), (4, 2**40), (60, 3), (87, 5)]}
    assert [(span.offset, span.length) for span in histogram.positive_span] == [(-58, 4), (55, 1), (26, 1)]
    assert (histogram.sample_count, histogram.sample_sum) == (2**40 + 16, 2.5)
    bounds = {bucket.upper_bound: bucket.cumulative_count for bucket in histogram.bucket}
    assert bounds[2.0**-20] == 2**40 + 8
    assert bounds[1.0] == 2**40 + 8
    assert bounds[2.0] == 2**40 + 11
    assert len(bounds) == 26


@pytest.mark.parametrize("zeros", [0, 5])
def test_a_histogram_without_buckets_is_native_too(zeros: int) -> None:
    counts = np.zeros((1, BUCKETS), np.uint64)
    counts[0, 0] = zeros
    (metric,) = read(snapshot(series(DURATION, {}, counts, [0])))["sonde_syscall_duration_seconds"].metric
    assert [(0, 0)] == [(span.offset, span.length) for span in metric.histogram.positive_span]
    assert native_counts(metric.histogram) == {}
    assert (metric.histogram.sample_count, metric.histogram.zero_count) == (zeros, zeros)


@pytest.mark.parametrize("scale", [0, 3, 8, 9])
def test_scales_are_schemas_as_far_as_prometheus_has_them(scale: int) -> None:
    metric = Metric("x", "histogram", "", "", value="", scale=scale, exponent=-2)
    counts = np.zeros((1, 3 * 2**scale + 1), np.uint64)
    counts[0, 2 * 2**scale] = 9
    (found,) = read(snapshot(series(metric, {}, counts)))["x"].metric
    assert found.histogram.HasField("schema") is (scale <= 8)
    # (1, 2**(1/2**scale)]: the first above one.
    assert native_counts(found.histogram) == ({1: 9} if scale <= 8 else {})
    assert [(bucket.upper_bound, bucket.cumulative_count) for bucket in found.histogram.bucket] == [
        (0.5, 0),
        (1.0, 0),
        (2.0, 9),
    ]


@given(
    st.lists(
        st.lists(st.sampled_from([0, 0, 0, 1, 127, 128, 2**32, 2**62]), min_size=12, max_size=12),
        min_size=1,
        max_size=6,
    )
)
def test_sparse_buckets_give_the_counts_back(rows: list[list[int]]) -> None:
    metric = Metric("x", "histogram", "", "", value="", scale=0, exponent=-5)
    names = [str(at) for at in range(len(rows))]
    found = read(snapshot(series(metric, {NAME: names}, np.array(rows, np.uint64))))["x"].metric
    for row, each in zip(rows, found, strict=True):
        counts = native_counts(each.histogram)
        assert {at - 4: count for at, count in enumerate(row) if count and at} == {
            at: count for at, count in counts.items() if count
        }
        assert each.histogram.zero_count == row[0]


@given(
    st.lists(st.text(st.characters(codec=None), max_size=20), min_size=1, max_size=5, unique_by=unambiguous)
)
def test_no_label_breaks_the_message(names: list[str]) -> None:
    family = read(snapshot(series(CALLS, {NAME: names}, list(range(len(names))))))[
        "sonde_syscall_calls_total"
    ]
    assert [unambiguous(name) for name in names] == [
        messages.labels(metric).get("process_executable_name", "") for metric in family.metric
    ]


def test_ten_thousand_series_are_all_there() -> None:
    calls, took = many(CALLS, 10_007), many(DURATION, 3_001)
    found = read(snapshot(calls, took, service__name="sonde"))
    assert set(found) == {"target_info", "sonde_syscall_calls_total", "sonde_syscall_duration_seconds"}
    counters = found["sonde_syscall_calls_total"].metric
    assert calls.values.tolist() == [metric.counter.value for metric in counters]
    histograms = found["sonde_syscall_duration_seconds"].metric
    assert took.values.sum(axis=1).tolist() == [metric.histogram.sample_count for metric in histograms]
    for row in (0, 1023, 1024, 3000):
        filled = {at: count for at, count in native_counts(histograms[row].histogram).items() if count}
        assert filled == {at - 59: count for at, count in enumerate(took.values[row].tolist()) if count}


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
def test_numbers_are_written_alike_one_by_one_and_together(values: list[int]) -> None:
    rows = wire.packed(np.array(values, np.uint64), each=np.ones(len(values), np.intp))
    assert [wire.varint(value) for value in values] == [rows[at] for at in range(len(values))]


@given(st.integers(-(2**62), 2**62))
def test_signed_numbers_fold_alike_one_by_one_and_together(value: int) -> None:
    assert [wire.zigzag(value)] == wire.zigzags(np.array([value])).tolist()


def test_a_column_without_a_mask_is_fine() -> None:
    plain = series(CALLS, {}, [1, 2])
    attributes = {"n": np.array([3, 4]), "text": np.array(["a", "b"]), "object": column(["x", None])}
    taken = type(plain)(plain.metric, attributes, plain.values, plain.start_ns, plain.time_ns)
    found = read(Snapshot((taken,), 0))["sonde_syscall_calls_total"].metric
    assert [{"n": "3", "object": "x", "text": "a"}, {"n": "4", "text": "b"}] == [
        messages.labels(each) for each in found
    ]
