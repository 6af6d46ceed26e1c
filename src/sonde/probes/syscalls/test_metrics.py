"""What the rows of probe ``syscalls`` are to machines: the metrics that it declares, on the real kernel."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from sonde.probe import Selection, Table
from sonde.probes import probe
from sonde.records.histogram import bounds
from sonde.records.metrics import Metric
from sonde.records.model import RecordBatch
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

TABLES = {table.name: table for table in probe("syscalls").tables}
SLEEPS = "import signal, sys; sys.stdin.readline()\nfor _ in range(13): signal.sigtimedwait([signal.SIGUSR1], 0.002)"
"""Python's own sleep is until a moment that it has fixed before the call: the call itself may be shorter."""


def batch_of(table: Table) -> RecordBatch:
    """Let a process sleep thirteen times, and read the table at the end."""
    with (
        subprocess.Popen([sys.executable, "-c", SLEEPS], stdin=subprocess.PIPE, text=True) as sleeper,
        Run(probe("syscalls"), table.name, selection=Selection(pid=sleeper.pid)) as run,
    ):
        sleeper.communicate("\n", timeout=60)
        run.stop()
        return run.read()


def metric(table: Table, name: str) -> Metric:
    """Find a metric of a table."""
    return {each.name: each for each in table.metrics}[name]


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_what_a_metric_counts_is_known_in_every_row(table: Table) -> None:
    """Enrichers mask what is unknown; counts and buckets never are, and all of them together are `aggregated`."""
    batch = batch_of(table)

    counted = 0
    for each in table.metrics:
        values = batch[each.value]
        assert not np.ma.is_masked(values)
        assert values.dtype == np.uint64
        assert set(each.attributes.values()) <= set(batch.columns)
        counted += int(values.sum())
    assert batch.accounting.aggregated == counted
    assert batch.accounting.balanced


def test_a_call_is_in_the_bucket_of_its_seconds() -> None:
    """Bounds by the metric's scale and exponent, the sum and the maximum by its factor: they are of one unit."""
    table = TABLES["latency"]
    declared = metric(table, "sonde.syscall.duration")
    batch = batch_of(table)
    (row,) = (row for row in batch.rows() if row["syscall"] == "rt_sigtimedwait")

    counts = np.array(row[declared.value])
    assert 13 == counts.sum()
    edges = bounds(len(counts), declared.scale, unit=2.0**declared.exponent)
    hit = np.flatnonzero(counts)
    assert 0.002 <= edges[hit[0] + 1]
    total, maximum = row[declared.total] * declared.factor, row[declared.maximum] * declared.factor
    assert edges[hit[-1]] < maximum <= edges[hit[-1] + 1]
    assert (counts * edges[:-1]).sum() < total <= (counts * edges[1:]).sum()


def test_calls_without_duration_are_counted_beside() -> None:
    """exit_group does not return: it is in the counter of untimed calls, and in no bucket."""
    table = TABLES["latency"]
    batch = batch_of(table)
    (row,) = (row for row in batch.rows() if row["syscall"] == "exit_group")

    assert 1 == row[metric(table, "sonde.syscall.untimed").value]
    assert 0 == sum(row[metric(table, "sonde.syscall.duration").value])
