"""The probe ``processes`` on the real kernel: every process begins once, runs what it runs, and ends once."""

from __future__ import annotations

import os
from dataclasses import replace

import pytest

from sonde.probe import Selection, Table
from sonde.probes.processes.child import (
    PROCESSES,
    WORKLOAD,
    assert_told,
    child,
    counted,
    done,
    records,
)
from sonde.probes.processes.workload import EXIT_CODE, Workload
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_a_prime_number_of_processes_is_exact_in_the_table() -> None:
    """1,009 forks and 211 programs are that many rows' sum, by exit code, and the equation holds."""
    with child(WORKLOAD, "1009", "211") as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "events", selection=selection) as run:
            done(started)
            run.stop()
            batch = run.read()

    expected = Workload(1009, 211).expected
    # The child itself ends, too.
    found = {
        "fork": counted(batch, "forks"),
        "exec": counted(batch, "execs"),
        "exit": counted(batch, "exits") - 1,
    }
    found["code"] = sum(row["exits"] for row in batch.rows() if row["exit_code"] == EXIT_CODE)
    assert_told({**expected, "code": 1009}, found, batch.accounting)
    assert {"true"} == {row["comm"] for row in batch.rows() if row["execs"]}


def test_a_prime_number_of_processes_is_exact_in_the_stream() -> None:
    """The same number of records, each process with its fork, its exec and its exit in this order."""
    rows, last, pid = records(WORKLOAD, "101", "103")

    expected = {**Workload(101, 103).expected, "exit": 205}
    found = {name: sum(row["event"] == name for row in rows) for name in expected}
    lives: dict[tuple[int, int], tuple[str, ...]] = {}
    for row in rows:
        key = (row["pid"], row["process_start_ns"])
        lives[key] = (*lives.get(key, ()), row["event"])
    assert_told(expected, found, last.accounting)
    # A life that an event is missing from looks like another one.
    if not last.accounting.lost_total:
        assert 101 == list(lives.values()).count(("fork", "exit"))
        assert 103 == list(lives.values()).count(("fork", "exec", "exit"))
    assert {pid} == {row["ppid"] for row in rows if row["event"] in ("fork", "exec")}


@pytest.mark.parametrize("output", ["events", "lifetimes", "lifecycle"])
def test_raw_tracepoints_count_the_same(output: str) -> None:
    """Where programs with BTF do not load."""
    raw = replace(PROCESSES, variants=PROCESSES.variants[1:])
    with child(WORKLOAD, "101", "103") as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(raw, output, selection=selection) as run:
            hooks = run.describe()["hooks"].values()
            done(started)
            run.stop()
            batch = run.read()

    assert {"raw_tp"} == {hook.partition(":")[0] for hook in hooks}
    assert {"lifetimes": 205}.get(
        output, 204 + 103 + 205
    ) == batch.accounting.aggregated + batch.accounting.delivered
    assert batch.accounting.balanced, str(batch.accounting)


def test_lifetimes_are_those_of_the_processes() -> None:
    """Seven processes that sleep 30 ms are in the histogram, none below 30 ms."""
    code = "import time\nfor _ in range(7):\n    pid = os.fork()\n    if pid == 0: time.sleep(0.03); os._exit(5)\n    os.waitpid(pid, 0)"
    with child(code) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "lifetimes", selection=selection) as run:
            done(started)
            run.stop()
            batch = run.read()

    (row,) = (row for row in batch.rows() if row["exit_code"] == 5)
    assert 7 == row["exits"]
    assert 7 * 30_000_000 <= row["lifetime_sum_ns"] <= 7 * row["lifetime_max_ns"]
    assert 30_000_000 / 2**0.5 <= row["lifetime_p50_ns"]
    assert batch.accounting.balanced, str(batch.accounting)


def test_what_finds_the_map_full_is_in_other() -> None:
    """With room for 7 rows 40 exit codes are counted all the same."""
    code = "for n in range(40):\n    pid = os.fork()\n    if pid == 0: os._exit(n)\n    os.waitpid(pid, 0)"
    with child(code) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "events", selection=selection, max_entries=7) as run:
            done(started)
            run.stop()
            batch = run.read()

    (other,) = (row for row in batch.rows() if row["is_other"])
    assert "other" == other["comm"]
    assert 41 == counted(batch, "exits")
    assert other["exits"] >= 33
    assert batch.accounting.balanced, str(batch.accounting)


def test_a_small_ring_under_a_storm_loses_and_says_so() -> None:
    """A ring of 4 KiB that nobody drains loses records; what was lost is counted exactly."""
    rows, last, _ = records(WORKLOAD, "101", "1", max_entries=4096)

    assert 0 < last.accounting.lost["ring_full"]
    assert len(rows) == last.accounting.delivered
    assert last.accounting.balanced, str(last.accounting)


@pytest.mark.parametrize("table", PROCESSES.tables, ids=lambda table: table.name)
def test_metrics_are_made_of_columns_that_there_are(table: Table) -> None:
    """Value, attributes, sum and maximum of each; with the columns to show, and the one to sort by."""
    with Run(PROCESSES, table.name) as run:
        run.stop()
        names = set(run.read().schema.names)

    wanted = {table.sort, *table.columns}
    for metric in table.metrics:
        wanted |= {metric.value, *metric.attributes.values(), metric.total, metric.maximum} - {""}
    assert wanted <= names
