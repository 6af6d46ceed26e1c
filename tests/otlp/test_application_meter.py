"""Into an application's own OpenTelemetry: what its reader collects equals the calls that a workload made."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import Counter, MeterProvider, ObservableCounter
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader

import sonde
from kernel.plain import example
from kernel.workload import Calls, stopped
from sonde import Collector
from sonde.errors import ProbeError, SondeError
from sonde.probe import Selection

# Nothing of this depends on the kernel, and guests have no SDK.
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.host_only,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

OVERFLOW = "otel.metric.overflow"


class Application:
    """An application with a meter of its own, whose reader collects when it is asked."""

    def __init__(self, **options: Any) -> None:
        self.reader = InMemoryMetricReader(**options)
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.meter = self.provider.get_meter("application")

    def metrics(self) -> dict[str, Any]:
        data = self.reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: metric
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def points(self, name: str) -> list[tuple[dict[str, Any], Any]]:
        found = self.metrics().get(name)
        return [(dict(each.attributes), each.value) for each in found.data.data_points] if found else []

    def of(self, pid: int) -> int:
        """Give the document's count of a process."""
        return sum(value for told, value in self.points("ebpf.syscall.count") if told.get("pid") == pid)


@pytest.fixture
def application() -> Iterator[Application]:
    made = Application()
    yield made
    made.provider.shutdown()


@pytest.fixture
def start_calls() -> Iterator[Callable[..., Calls]]:
    """Start workloads that wait to be run."""
    with ExitStack() as stack:
        yield lambda **counts: stack.enter_context(
            stopped(Calls(**{"openat": 101, "read": 211, "write": 53, "connect": 31, **counts}))
        )


# ---- the document's collector -----------------------------------------------------------------------------------


@pytest.mark.parametrize("loads", [True, False])
def test_the_document_s_metric_has_every_call_once(
    application: Application, start_calls: Callable[..., Calls], *, loads: bool
) -> None:
    """However often the reader collects: the document's program adds its totals up again each time."""
    calls = start_calls()
    with Collector() as collector:
        if loads:
            collector.load(example("trace_syscall"))
        collector.trace_syscalls()
        collector.export_to_opentelemetry(application.meter)
        assert application.of(calls.pid) == 0
        calls.run()
        for _ in range(5):
            assert application.of(calls.pid) == sum(calls.expected.values())
        metric = application.metrics()["ebpf.syscall.count"]
        assert (metric.description, metric.unit) == ("Number of system calls", "")
        assert metric.data.is_monotonic
        assert metric.data.aggregation_temporality == AggregationTemporality.CUMULATIVE
        assert all(
            type(told["pid"]) is int
            for told, _ in application.points("ebpf.syscall.count")
            if OVERFLOW not in told
        )


def test_a_reader_of_differences_gets_differences(start_calls: Callable[..., Calls]) -> None:
    application = Application(
        preferred_temporality={
            Counter: AggregationTemporality.DELTA,
            ObservableCounter: AggregationTemporality.DELTA,
        }
    )
    first, second = start_calls(), start_calls()
    with Collector() as collector:
        collector.trace_syscalls()
        collector.export_to_opentelemetry(application.meter)
        application.metrics()
        first.run()
        assert application.of(first.pid) == sum(first.expected.values())
        second.run()
        points = {told.get("pid"): value for told, value in application.points("ebpf.syscall.count")}
        assert points[second.pid] == sum(second.expected.values())
        assert points.get(first.pid, 0) == 0
    application.provider.shutdown()


def test_counts_go_on_over_other_calls_and_other_objects(
    application: Application, start_calls: Callable[..., Calls]
) -> None:
    """What is traced anew begins at nothing; what was counted before stays, to the last call before the change."""
    first, second, third = start_calls(), start_calls(), start_calls()
    with Collector() as collector:
        collector.trace_syscalls(["openat"])
        collector.export_to_opentelemetry(application.meter)
        first.run()
        collector.trace_syscalls(["read"])
        second.run()
        collector.load(example("trace_syscall"))
        collector.trace_syscalls(["write"])
        third.run()
        counted = {calls: application.of(calls.pid) for calls in (first, second, third)}
        assert list(counted.values()) == [
            first.expected["openat"],
            second.expected["read"],
            third.expected["write"],
        ]


def test_a_closed_collector_gives_nothing(application: Application, caplog: pytest.LogCaptureFixture) -> None:
    with Collector() as collector:
        collector.trace_syscalls()
        collector.export_to_opentelemetry(application.meter)
        application.metrics()
    with caplog.at_level(logging.ERROR):
        assert application.metrics() == {}
    assert caplog.records == []


def test_errors_are_logged_once_and_told_until_they_are_over(
    application: Application, start_calls: Callable[..., Calls], caplog: pytest.LogCaptureFixture
) -> None:
    calls = start_calls()
    with Collector() as collector, caplog.at_level(logging.ERROR, logger="sonde.opentelemetry"):
        instruments = collector.export_to_opentelemetry(application.meter)
        for _ in range(3):
            application.metrics()
        assert instruments.errors == 3
        assert isinstance(instruments.error, SondeError)
        assert len(caplog.records) == 1
        assert "none is loaded" in caplog.text or "trace" in caplog.text
        collector.trace_syscalls()
        calls.run()
        assert application.of(calls.pid) == sum(calls.expected.values())
        assert instruments.error is None


# ---- probes -----------------------------------------------------------------------------------------------------


def test_a_probe_s_metrics_stand_beside_the_document_s(
    application: Application, start_calls: Callable[..., Calls]
) -> None:
    calls = start_calls()
    with sonde.export_to_opentelemetry(
        application.meter, selection=Selection(pid=calls.pid), by=("pid",)
    ) as export:
        application.metrics()
        calls.run()
        metrics = application.metrics()
        ours = {
            point.attributes["sonde.syscall.name"]: point.value
            for point in metrics["sonde.syscall.count"].data.data_points
            if point.attributes["process.pid"] == calls.pid
        }
        assert {name: ours[name] for name in calls.expected} == calls.expected
        assert metrics["sonde.syscall.count"].unit == "{call}"
        documents = [point.value for point in metrics["ebpf.syscall.count"].data.data_points]
        assert documents == [sum(ours.values())]
        assert export.errors == export.folded == 0
    assert application.metrics() == {}


def test_processes_that_ended_before_the_collection_have_their_names(
    application: Application, tmp_path: Path
) -> None:
    """A reader may collect once a minute, and most processes end sooner."""
    program = tmp_path / "short"
    shutil.copy("/bin/true", program)
    with sonde.export_to_opentelemetry(application.meter, values={"syscall": ["exit_group"]}):
        for _ in range(53):
            subprocess.run([program], check=True)
        counted = {
            told.get("process.executable.name"): value
            for told, value in application.points("sonde.syscall.count")
        }
    assert counted["short"] == 53


def test_a_histogram_is_a_count_and_a_sum(
    application: Application, start_calls: Callable[..., Calls]
) -> None:
    calls = start_calls()
    with sonde.export_to_opentelemetry(
        application.meter, "syscalls.latency", selection=Selection(pid=calls.pid)
    ):
        calls.run()
        metrics = application.metrics()
        counted: dict[str, int] = {}
        for point in metrics["sonde.syscall.duration.count"].data.data_points:
            name = point.attributes["sonde.syscall.name"]
            counted[name] = counted.get(name, 0) + point.value
        assert {name: counted[name] for name in calls.expected} == calls.expected
        assert metrics["sonde.syscall.duration.sum"].unit == "s"
        assert 0 < sum(each.value for each in metrics["sonde.syscall.duration.sum"].data.data_points) < 600


@pytest.mark.parametrize("series_max", [3, 2_000])
def test_what_is_beyond_the_bound_is_in_one_series_that_says_so(
    application: Application, start_calls: Callable[..., Calls], series_max: int
) -> None:
    """The SDK would do so silently, and at 2,000."""
    several = [start_calls(threads=1) for _ in range(5)]
    with Collector() as collector:
        collector.trace_syscalls()
        instruments = collector.export_to_opentelemetry(application.meter, series_max=series_max)
        before = sum(value for _, value in application.points("ebpf.syscall.count"))
        for calls in several:
            calls.run()
        points = application.points("ebpf.syscall.count")
        assert len(points) <= series_max
        assert bool(instruments.folded) == (series_max == 3)
        assert any(told.get(OVERFLOW) for told, _ in points) == (series_max == 3)
        made = sum(sum(calls.expected.values()) for calls in several)
        assert sum(value for _, value in points) - before >= made


def test_a_failed_start_leaves_nothing_running(application: Application) -> None:
    with pytest.raises(ProbeError, match="no table with metrics"):
        sonde.export_to_opentelemetry(application.meter, "syscalls", "syscalls.nothing")
    with pytest.raises(ProbeError, match="none of that name"):
        sonde.export_to_opentelemetry(application.meter, "sycalls")
    assert application.metrics() == {}
    with pytest.raises(SondeError, match="nothing is called executabel"):
        sonde.export_to_opentelemetry(application.meter, by=("executabel",))
    assert application.metrics() == {}


# ---- one after the other ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("temporality", [AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA])
def test_what_is_exported_again_goes_on(
    start_calls: Callable[..., Calls], temporality: AggregationTemporality
) -> None:
    """The SDK keeps the instruments of the first export, and listens to no others of their names."""
    application = Application(preferred_temporality={ObservableCounter: temporality})
    received = 0
    for made in (1, 2, 3):
        calls = start_calls()
        with Collector() as collector:
            collector.trace_syscalls()
            collector.export_to_opentelemetry(application.meter)
            calls.run()
            assert application.of(calls.pid) == sum(calls.expected.values()), f"export {made}"
            values = [value for _, value in application.points("ebpf.syscall.count")]
            assert min(values) >= 0
            total = sum(values)
            assert temporality == AggregationTemporality.DELTA or total >= received
            received = total
        assert application.metrics() == {}
    application.provider.shutdown()


def test_two_at_a_time_are_refused_and_the_first_goes_on(
    application: Application, start_calls: Callable[..., Calls]
) -> None:
    calls = start_calls()
    with Collector() as collector:
        collector.trace_syscalls()
        collector.export_to_opentelemetry(application.meter)
        for export in (collector.export_to_opentelemetry, sonde.export_to_opentelemetry):
            with pytest.raises(SondeError, match="another export gives it to this meter already"):
                export(application.meter)
        calls.run()
        assert application.of(calls.pid) == sum(calls.expected.values())
        assert [*application.metrics()] == ["ebpf.syscall.count"]


def test_a_list_of_words_is_no_text() -> None:
    """Its letters would be taken for columns."""
    meter = MeterProvider(shutdown_on_exit=False).get_meter("m")
    with pytest.raises(SondeError, match=r"by='pid' is a text: give a list: \[\"pid\"\]"):
        sonde.export_to_opentelemetry(meter, by="pid")
