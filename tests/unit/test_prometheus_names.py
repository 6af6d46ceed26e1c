"""Names by OpenTelemetry's rules for Prometheus."""

from __future__ import annotations

from itertools import permutations

import pytest

from sonde.exporters.prometheus.names import family_names, label_name, labels_of, metric_name
from sonde.records.metrics import Kind, Metric


def metric(name: str, kind: Kind = "counter", unit: str = "") -> Metric:
    return Metric(name, kind, unit, "", value="")


@pytest.mark.parametrize(
    ("name", "kind", "unit", "expected"),
    [
        ("sonde.syscall.duration", "histogram", "s", "sonde_syscall_duration_seconds"),
        ("sonde.syscall.calls", "counter", "{call}", "sonde_syscall_calls_total"),
        ("ebpf.syscall.count", "counter", "", "ebpf_syscall_count_total"),
        ("network.io", "counter", "By", "network_io_bytes_total"),
        ("system.disk.io_time", "counter", "s", "system_disk_io_time_seconds_total"),
        ("cpu.utilization", "gauge", "1", "cpu_utilization_ratio"),
        ("lost", "counter", "1", "lost_total"),
        ("already.seconds", "gauge", "s", "already_seconds"),
        ("already.total", "counter", "{call}", "already_total"),
        ("io.rate", "gauge", "By/s", "io_rate_bytes_per_second"),
        ("rate", "gauge", "1/s", "rate_per_second"),
        ("rate", "gauge", "{call}/s", "rate_per_second"),
        ("heat", "gauge", "Cel", "heat_celsius"),
        ("odd", "gauge", "By{used}", "odd_bytes"),
        ("process.thread.count", "updown", "{thread}", "process_thread_count_current"),
        ("queue.sum", "gauge", "", "queue_sum_current"),
        ("2nd..name--here", "gauge", "", "_2nd_name_here"),
        ("…", "gauge", "", "unnamed"),
    ],
)
def test_a_metric_is_spelled_with_its_unit(name: str, kind: Kind, unit: str, expected: str) -> None:
    assert expected == metric_name(metric(name, kind, unit))


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("process.executable.name", "process_executable_name"),
        ("error.type", "error_type"),
        ("otel.metric.overflow", "otel_metric_overflow"),
        ("1st", "key_1st"),
        ("__name__", "_name_"),
        ("le", "le_"),
        ("quantile", "quantile_"),
        ("höhe", "h_he"),
        ("", "_"),
    ],
)
def test_an_attribute_is_spelled_as_a_label(attribute: str, expected: str) -> None:
    assert expected == label_name(attribute)


def test_attributes_that_share_a_label_are_kept_in_their_order() -> None:
    assert {"a_b": ["a.b", "a_b"], "c": ["c"]} == labels_of(["c", "a_b", "a.b"])


def test_metrics_that_share_a_name_are_numbered_whatever_their_order() -> None:
    metrics = [metric("a.b"), metric("a_b"), metric("a-b")]
    for order in permutations(metrics):
        names = family_names(order)
        assert names == {
            ("a-b", "counter", ""): "a_b_total",
            ("a.b", "counter", ""): "a_b_2_total",
            ("a_b", "counter", ""): "a_b_3_total",
        }


def test_a_histograms_series_share_their_names_with_nothing() -> None:
    histogram, counter = metric("x", "histogram", "s"), metric("x.seconds", "counter")
    gauge = metric("x.seconds.count", "histogram")
    names = family_names([histogram, counter, gauge])
    assert sorted(names.values()) == ["x_seconds", "x_seconds_count_2", "x_seconds_total"]


def test_the_same_metric_from_two_tables_has_one_name() -> None:
    assert len(family_names([metric("a"), metric("a")])) == 1


def test_a_name_that_is_taken_is_not_given() -> None:
    assert ["target_info_2"] == list(
        family_names([metric("target.info", "gauge")], taken=["target_info"]).values()
    )
