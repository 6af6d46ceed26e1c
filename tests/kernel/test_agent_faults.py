"""What happens to the agent, and what its totals are afterwards: no CPU, too many series, names from hostile hands."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kernel.running_agent import CALLS, GETPPID, agent, counts, getppids, only, page_with
from kernel.sonde_process import child

# The same on every kernel.
pytestmark = [pytest.mark.kernel, pytest.mark.host_only]

PROCESSES, KINDS = 40, 300
MANY = f"""
import ctypes, os, sys
libc = ctypes.CDLL(None)
for number in range(600, {600 + KINDS}): libc.syscall(number)
print("done", flush=True)
sys.stdin.read()
"""
"""System calls that no kernel has: each is a series of its own, and none does anything."""


@contextmanager
def many(cgroup: Path) -> Iterator[list[int]]:
    """Processes that have each made calls of very many kinds, and live; in this cgroup."""

    def join() -> None:
        (cgroup / "cgroup.procs").write_text("0")

    started = [
        subprocess.Popen(
            [sys.executable, "-c", MANY], stdin=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=join
        )
        for _ in range(PROCESSES)
    ]
    try:
        for process in started:
            assert process.stdout is not None
            assert process.stdout.readline() == b"done\n"
        yield [process.pid for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()


SHORT, SHORT_NAME = 1_229, f"short-{os.getpid()}"
"""Processes of a name that no others have, which begin one after the other in four threads, and live for half a millisecond."""
SPAWN = """
import os, sys, threading
program, count = sys.argv[1], iter(range(int(sys.argv[2])))
lock = threading.Lock()
def spawn():
    while True:
        with lock:
            if next(count, None) is None:
                return
        os.waitpid(os.posix_spawn(program, [program], {}), 0)
threads = [threading.Thread(target=spawn) for _ in range(4)]
for each in threads: each.start()
for each in threads: each.join()
"""


@pytest.mark.parametrize(
    "exported", [{}, {"output": "lifecycle", "rate_max": "1"}], ids=["no lives", "one of its lives a second"]
)
def test_the_calls_of_short_processes_are_their_programs(tmp_path: Path, exported: dict[str, str]) -> None:
    """Some begin and end between the reading of the streams and that of the table, at each of a hundred readings.

    Whose they are does not depend on which records of lives are exported.
    """
    program = tmp_path / SHORT_NAME
    shutil.copy("/bin/true", program)
    calls = "sonde_syscall_count_total"
    processes = {f"probes__processes__{name}": value for name, value in exported.items()}
    with agent(tmp_path, interval="100ms", probes__syscalls__syscall="exit_group", **processes) as running:
        subprocess.run([sys.executable, "-c", SPAWN, str(program), str(SHORT)], check=True)
        page = running.page_where(lambda page: counts(page, calls) >= SHORT)

    assert counts(page, calls, process_executable_name=SHORT_NAME) == SHORT


def test_the_records_of_short_processes_are_theirs(tmp_path: Path) -> None:
    """A record tells its process as a row does: by pid and start, from which its program and container follow."""
    program, path = tmp_path / SHORT_NAME, tmp_path / "records.jsonl"
    shutil.copy("/bin/true", program)
    settings = {"output": "calls", "syscall": "exit_group", "rate_max": "0"}
    with agent(
        tmp_path,
        interval="100ms",
        file__path=str(path),
        file__metrics="false",
        **{f"probes__syscalls__{name}": value for name, value in settings.items()},
    ) as running:
        subprocess.run([sys.executable, "-c", SPAWN, str(program), str(SHORT)], check=True)
        running.end()
    records = [json.loads(line)["attributes"] for line in path.read_text().splitlines()]

    assert sum(each.get("process.executable.name") == SHORT_NAME for each in records) == SHORT


def with_series(page: str, least: int) -> str | None:
    """Give the page if it has so many series of the calls that no kernel has."""
    return page if page.count('sonde_syscall_name="syscall_') >= least else None


def test_ten_thousand_series_are_exported_to_the_last_one(tmp_path: Path, cgroup: Path) -> None:
    # What others do could take the room.
    settings = {
        "probes__processes__enabled": "false",
        "probes__syscalls__cgroup": str(cgroup),
        "probes__syscalls__max_entries": "40000",
        "series__by": "pid",
        "series__max": "30000",
    }
    with agent(tmp_path, **settings) as running, many(cgroup) as pids:
        # On a busy machine a scrape may get the page before: the loop has some seconds to read.
        page = running.until(lambda: with_series(running.fresh_page(), PROCESSES * KINDS))

    assert min(counts(page, "sonde_syscall_count_total", process_pid=str(pid)) for pid in pids) > KINDS


def is_folded(page: str) -> str | None:
    """Give the page if it was read when the calls had been made."""
    folded = counts(page, "sonde_syscall_count_total", otel_metric_overflow="true")
    return page if folded > PROCESSES * KINDS - 500 else None


def test_beyond_the_bound_they_are_one_and_the_sum_is_right(tmp_path: Path, cgroup: Path) -> None:
    # Series of processes that end are given back: only those count here that all live.
    settings = {
        "probes__processes__enabled": "false",
        "probes__syscalls__cgroup": str(cgroup),
        "series__by": "pid",
        "series__max": "500",
    }
    with agent(tmp_path, **settings) as running:
        with many(cgroup):
            page = running.until(lambda: is_folded(running.fresh_page()))
            series = [line for line in page.splitlines() if line.startswith("sonde_syscall_count_total{")]
        summary = running.end()

    assert 450 < len(series) <= 500
    assert counts(page, "sonde_series_folded_total", sonde_metric_name="sonde.syscall.count") > 0
    account = summary["outputs"]["syscalls.counts"]
    assert account["seen"] == account["aggregated"] + account["filtered"] + sum(account["lost"].values())


def test_an_agent_that_gets_no_cpu_counts_on(tmp_path: Path) -> None:
    """Both processes are stopped while the load goes on: it does not wait, and nothing of it is missing."""
    with child(GETPPID) as made, agent(tmp_path, **only(made)) as running:
        pids = [running.process.pid, running.loader_pid]
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        for _ in range(7):
            made.run()
        time.sleep(2)
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
        page = page_with(running, 7 * CALLS)
        summary = running.end()

    assert getppids(page) == 7 * CALLS
    account = summary["outputs"]["syscalls.counts"]
    assert account["seen"] == account["aggregated"] + account["filtered"] + sum(account["lost"].values())


def test_a_second_agent_counts_beside_the_first(tmp_path: Path) -> None:
    """Each has its own programs and maps."""
    (tmp_path / "other").mkdir()
    with (
        child(GETPPID) as made,
        agent(tmp_path, **only(made)) as first,
        agent(tmp_path / "other", **only(made)) as second,
    ):
        made.run()
        pages = [page_with(each, CALLS) for each in (first, second)]

    for page in pages:
        assert getppids(page) == CALLS


def test_a_killed_agent_that_is_started_again_begins_at_zero_with_a_new_start(tmp_path: Path) -> None:
    with child(GETPPID) as made:
        for _ in range(2):
            with agent(tmp_path, **only(made)) as running:
                made.run()
                page = page_with(running, CALLS)
                running.process.kill()
                running.process.wait()

            assert getppids(page) == CALLS
