"""An exporter that wants metrics less often gets the newest at its own pace, and the last ones at the end."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from sonde.agent.pace import Paced
from sonde.exporters.exporter import Status
from sonde.records.metrics import Metric, Series, Snapshot


class Recorder:
    """Keeps what it is given."""

    name = "recorder"

    def __init__(self) -> None:
        self.times: list[int] = []
        self.snapshots: list[Snapshot] = []
        self.records = 0
        self.closed_after: list[int] = []

    def export(self, snapshot: Snapshot) -> None:
        self.times.append(snapshot.time_ns)
        self.snapshots.append(snapshot)

    def log(self, batch: object) -> None:
        self.records += 1

    def status(self) -> Status:
        return Status(requests=len(self.times))

    def close(self, *, timeout_s: float) -> None:
        self.closed_after = list(self.times)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("sonde.agent.pace.time.monotonic", lambda: now[0])
    return now


def test_metrics_are_handed_on_at_their_pace(clock: list[float]) -> None:
    """Every 5 s there are some, a little early or late, and they are wanted every 15 s."""
    recorder = Recorder()
    paced = Paced(recorder, interval_s=15.0, early_s=0.5)
    for second in (0.0, 5.1, 9.9, 14.8, 20.0, 25.0, 30.2, 35.0, 95.0, 100.0):
        clock[0] = 100.0 + second
        paced.export(Snapshot((), int(second * 10)))
    assert recorder.times == [0, 148, 302, 950]
    assert paced.status().requests == 4


def test_the_last_metrics_are_not_kept(clock: list[float]) -> None:
    recorder = Recorder()
    paced = Paced(recorder, interval_s=60.0, early_s=0.5)
    for second in (0, 5, 10):
        clock[0] = 100.0 + second
        paced.export(Snapshot((), second))
    paced.close(timeout_s=1.0)
    assert recorder.closed_after == [0, 10]


def snapshot_of(counts: dict[str, int]) -> Snapshot:
    """One counter, a series for each name."""
    names = np.ma.masked_array(np.array(list(counts), dtype=object))
    metric = Metric("calls", "counter", "{call}", "", "count")
    starts = np.zeros(len(counts), np.int64)
    series = Series(metric, {"name": names}, np.array(list(counts.values()), np.uint64), starts, 1)
    return Snapshot((series,), 1)


def test_a_series_that_ends_between_two_deliveries_is_delivered_with_its_last_count() -> None:
    recorder = Recorder()
    paced = Paced(recorder, interval_s=3600.0, early_s=0.5)
    for counts in ({"a": 1}, {"a": 2, "b": 7}, {"a": 3}):
        paced.export(snapshot_of(counts))
    paced.close(timeout_s=1)

    (last,) = recorder.snapshots[-1].series
    assert dict(zip(last.attributes["name"].tolist(), last.values.tolist(), strict=True)) == {"a": 3, "b": 7}


def test_an_agent_without_otlp_loads_nothing_of_it() -> None:
    """Its packages are an extra, which may not be installed, and take memory."""
    code = (
        "import sys, sonde.agent.agent, sonde.agent.pace\n"
        "print([name for name in sys.modules if name.partition('.')[0] in ('google', 'grpc', 'opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
