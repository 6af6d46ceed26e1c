"""Receivers of OTLP that are not ours: what they have, or answer, equals the calls that a workload made."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from kernel.running_agent import agent
from kernel.workload import Calls, stopped
from otlp.reading import attributes_of, data_of, log_records_in, metrics_in, totals
from otlp.receiver import until
from otlp.rotel import Rotel, rotel
from otlp.victoria import Victoria, fetched, victoria
from sonde.exporters.otlp import OtlpExporter, OtlpSettings
from sonde.exporters.otlp.settings import OtlpDelivery
from sonde.probe import Selection
from sonde.probes import probe
from sonde.records.histogram import quantiles
from sonde.records.metrics import Snapshot
from sonde.records.totals import Totals
from sonde.run import Run

# What receivers do does not depend on the kernel; they are programs of the host's.
pytestmark = [
    pytest.mark.kernel,
    pytest.mark.host_only,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

PROTOCOLS = ("grpc", "http/protobuf")


@pytest.fixture
def calls() -> Iterator[Calls]:
    with stopped(Calls(openat=509, read=1009, write=251, connect=127)) as made:
        yield made


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Rotel]:
    with rotel(tmp_path) as made:
        yield made


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Victoria]:
    try:
        program = fetched()
    except LookupError as error:
        pytest.skip(str(error))
    with victoria(program, tmp_path_factory.mktemp("victoria")) as made:
        yield made


def measuring(calls: Calls, output: str) -> dict[str, str]:
    """Configure ``sonde run`` to measure the workload alone, by pid."""
    return {
        "probes__processes__enabled": "false",
        "probes__syscalls__pid": str(calls.pid),
        "probes__syscalls__output": output,
        "probes__syscalls__syscall": "openat,read,write,connect",
        "probes__syscalls__rate_max": "0",
        "series__by": "pid",
        "prometheus__listen": "off",
    }


@pytest.mark.parametrize("temporality", ["cumulative", "delta"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rotel_has_every_call_that_sonde_run_counted(
    receiver: Rotel, calls: Calls, tmp_path: Path, protocol: str, temporality: str
) -> None:
    otlp = {
        "otlp__endpoint": receiver.endpoint(protocol),
        "otlp__protocol": protocol,
        "otlp__temporality": temporality,
    }
    with agent(tmp_path, **measuring(calls, "counts"), **otlp) as running:
        calls.run()
        summary = running.end()

    def told() -> dict[str, int]:
        found: dict[str, int] = {}
        if temporality == "cumulative":
            newest = totals(
                receiver.sink.metric_requests(), "sonde.syscall.count", "process.pid", "sonde.syscall.name"
            )
            found = {name: count for (pid, name), count in newest.items() if pid == calls.pid}
        else:
            for metric in metrics_in(receiver.sink.metric_requests()):
                for point in data_of(metric).data_points if metric.name == "sonde.syscall.count" else ():
                    name = attributes_of(point)["sonde.syscall.name"]
                    found[name] = found.get(name, 0) + point.as_int
        return found

    until(lambda: sum(told().values()) >= sum(calls.expected.values()))
    assert told() == calls.expected
    assert set(summary["exporters"]["otlp"]["points_dropped"]) <= {"superseded"}
    (scope,) = {
        each.scope.name
        for request in receiver.sink.metric_requests()
        for resource in request.resource_metrics
        for each in resource.scope_metrics
    }
    assert scope == "sonde"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_rotel_has_a_record_of_every_call(
    receiver: Rotel, calls: Calls, tmp_path: Path, protocol: str
) -> None:
    otlp = {"otlp__endpoint": receiver.endpoint(protocol), "otlp__protocol": protocol}
    with agent(tmp_path, **measuring(calls, "calls"), **otlp) as running:
        calls.run()
        summary = running.end()

    expected = sum(calls.expected.values())
    account = summary["outputs"]["syscalls.calls"]
    assert account["delivered"] + sum(account["lost"].values()) >= expected
    until(lambda: len(log_records_in(receiver.sink.log_requests())) >= account["delivered"])
    records = log_records_in(receiver.sink.log_requests())
    assert len(records) == account["delivered"]
    assert {each.event_name for each in records} == {"sonde.syscalls.calls"}
    told = attributes_of(records[0])
    assert told["process.pid"] == calls.pid
    assert isinstance(told["args"], list)
    assert told["syscall"] in calls.expected


# ---- a database that answers queries ----------------------------------------------------------------------------


def test_victoria_metrics_answers_with_the_workload_s_calls_and_quantiles(
    database: Victoria, calls: Calls
) -> None:
    """Totals equal the known calls; quantiles equal those of the kernel's buckets, within the bucket."""
    metrics = {metric.name: metric for metric in probe("syscalls").output("latency").metrics}  # type: ignore[union-attr]
    duration = Totals(metrics["sonde.syscall.duration"])
    selection = Selection(pid=calls.pid)
    delivery = OtlpDelivery(database.endpoint)
    with (
        Run(probe("syscalls"), "latency", selection=selection, differences=True) as run,
        OtlpExporter(OtlpSettings(metrics=delivery)) as exporter,
    ):
        for ends in (False, True):
            if ends:
                calls.run()
                run.stop()
            batch = run.read()
            duration.add(batch)
            series = duration.series(batch.time_ns)
            exporter.export(Snapshot((series,), batch.time_ns, {"service.name": "sonde"}))
            until(lambda: exporter.status().points_waiting == 0)
        assert exporter.status().is_healthy, exporter.status().problem

    found = counts_by(database.query("sonde_syscall_duration_seconds_count"), "sonde_syscall_name")
    for name, count in calls.expected.items():
        # The process's own start and end make a few more: it was stopped before, and counted to its end.
        assert count <= found[name] <= count + 100
    names = series.attributes["sonde.syscall.name"]
    for name in calls.expected:
        rows = np.flatnonzero(np.asarray(names == name, dtype=bool))
        buckets = series.values[rows].sum(axis=0, keepdims=True)
        assert found[name] == buckets.sum()
        for fraction in (0.5, 0.99):
            ours = float(quantiles(buckets, 1, (fraction,), unit=2.0**-30)[0, 0])
            told = database.query(
                f"histogram_quantile({fraction}, sum(sonde_syscall_duration_seconds_bucket"
                f'{{sonde_syscall_name="{name}"}}) by (vmrange))'
            )
            (answer,) = told.values()
            # Both lie in one bucket, which is 41 % wide.
            assert answer == pytest.approx(ours, rel=0.42)


def counts_by(found: dict[tuple[tuple[str, str], ...], float], label: str) -> dict[str, int]:
    """Add up an answer by a label."""
    sums: dict[str, int] = {}
    for labels, value in found.items():
        key = dict(labels)[label]
        sums[key] = sums.get(key, 0) + int(value)
    return sums
