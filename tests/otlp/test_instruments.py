"""Instruments of an application's meter: bounds, and counts that grow, begin again and are folded."""

from __future__ import annotations

import os
import re
import select
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.metrics import MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from sonde.errors import SondeError
from sonde.exporters.counts import OTHER, SCHEMA, CountsSource, growth
from sonde.exporters.instruments import DOCUMENT_METRIC, Instruments
from sonde.records.model import RecordBatch


def batch(counts: dict[int, int]) -> RecordBatch:
    pids = np.array(list(counts), np.int64)
    columns = {"pid": pids, "count": np.array(list(counts.values()), np.uint64), "is_other": pids == OTHER}
    return RecordBatch(SCHEMA, columns, time_ns=time.time_ns())


def points(reader: InMemoryMetricReader) -> list[Any]:
    data = reader.get_metrics_data()
    assert data is not None
    (metric,) = data.resource_metrics[0].scope_metrics[0].metrics
    return list(metric.data.data_points)


@pytest.mark.parametrize(("series_max", "limit"), [(2_000, None), (10_000, 10_000)])
def test_processes_that_come_and_go_stay_below_the_sdk_s_bound(series_max: int, limit: int | None) -> None:
    """5,000 of them in ten collections: the SDK, which forgets none, never has to merge series by itself."""
    limits = {} if limit is None else {"cardinality_limits": {ObservableCounter: limit}}
    reader = InMemoryMetricReader(**limits)  # type: ignore[arg-type]
    turns = iter(range(10))

    def read() -> RecordBatch:
        turn = next(turns)
        return batch({1 + pid: 7 for pid in range(500 * turn, 500 * turn + 500)})

    provider = MeterProvider([reader], shutdown_on_exit=False)
    instruments = Instruments(provider.get_meter("m"), [DOCUMENT_METRIC], read, series_max=series_max)
    for _ in range(10):
        found = points(reader)
    assert sum(point.value for point in found) == 7 * 5_000
    marked = [point for point in found if "otel.metric.overflow" in point.attributes]
    if series_max > 5_000:
        assert (len(found), marked, instruments.folded) == (5_000, [], 0)
    else:
        assert len(found) == series_max
        assert [point.value for point in marked] == [7 * (5_000 - series_max + 1)]
        assert instruments.folded == 5_000 - series_max + 1
    provider.shutdown()


@pytest.mark.parametrize(
    ("meter", "series_max", "why"),
    [
        (None, 10, "None is no meter: give a provider's get_meter"),
        ("m", 10, "'m' is no meter"),
        (MeterProvider(shutdown_on_exit=False).get_meter("m"), 0, "series_max=0 is no number of series"),
        (MeterProvider(shutdown_on_exit=False).get_meter("m"), "many", "series_max='many' is no number"),
    ],
)
def test_what_cannot_be_is_refused_in_words(meter: Any, series_max: Any, why: str) -> None:
    with pytest.raises(SondeError, match=re.escape(why)):
        Instruments(meter, [DOCUMENT_METRIC], lambda: batch({}), series_max=series_max)


def in_a_fork(task: Callable[[], Any]) -> Any:
    """Do something in a forked process, as an SDK does whose reader starts again there; a hang is an error."""
    ours, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(theirs, repr(task()).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    with os.fdopen(ours) as told:
        ready, _, _ = select.select([told], [], [], 30)
        answer = told.read() if ready else "hangs"
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return answer


def test_a_forked_process_gives_and_reads_nothing() -> None:
    """Both would count the same, and what a ring held for the parent would be gone."""
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    read = list[int]()

    def count() -> RecordBatch:
        read.append(os.getpid())
        return batch({5: 7})

    instruments = Instruments(provider.get_meter("m"), [DOCUMENT_METRIC], count)
    assert [point.value for point in points(reader)] == [7]

    def collected() -> Any:
        data = reader.get_metrics_data()
        instruments.close()
        return data is None or not data.resource_metrics, len(read), instruments.folded

    # While another thread collects: the fork has its lock, which nobody there releases.
    with instruments._lock:
        assert in_a_fork(collected) == "(True, 1, 0)"
    assert [point.value for point in points(reader)] == [14]
    provider.shutdown()


def test_a_forked_process_may_count_for_itself() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    meter = provider.get_meter("m")
    Instruments(meter, [DOCUMENT_METRIC], lambda: batch({5: 7}))
    assert [point.value for point in points(reader)] == [7]

    def counted() -> list[int]:
        Instruments(meter, [DOCUMENT_METRIC], lambda: batch({6: 2}))
        return [point.value for point in points(reader)]

    assert in_a_fork(counted) == "[2]"
    provider.shutdown()


def test_what_ended_and_was_folded_is_not_counted_again() -> None:
    assert growth({5: 100, 6: 10}, {6: 12, OTHER: 103}) == {6: 2, OTHER: 3}


def test_a_count_that_went_back_began_again() -> None:
    assert growth({5: 100}, {5: 7}) == {5: 7}


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 9), st.booleans()), max_size=40))
def test_differences_add_up_to_the_totals_whatever_is_folded(steps: list[tuple[int, int, bool]]) -> None:
    stats: dict[int, int] = {OTHER: 0}
    source = CountsSource(lambda: stats)
    added = made = 0
    for pid, calls, folds in steps:
        stats[pid] = stats.get(pid, 0) + calls
        made += calls
        added += int(source.read()["count"].sum())
        if folds:
            stats[OTHER] += stats.pop(pid)
    added += int(source.read()["count"].sum())
    assert added == made
