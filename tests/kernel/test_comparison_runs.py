"""The harness of the comparison runs what it says: a tool from its start to its answer, and what it took meanwhile."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from benchmarks import crowds, streams
from benchmarks.contenders import contender, resources, syscall_tools
from benchmarks.contenders.contender import CannotRunError, Contender, Session, running, started
from benchmarks.gathering import Gathering

from kernel.sonde_process import is_alive

pytestmark = pytest.mark.host_only

OURS = {tool.name: tool for tool in syscall_tools.contenders()}


@pytest.mark.parametrize("name", [syscall_tools.COUNTS, syscall_tools.LATENCY])
def test_every_call_of_a_crowd_is_found_under_its_process(name: str) -> None:
    found = Gathering()
    crowds.one(OURS[name], 10, found)

    (row,) = found.rows([name], crowds.COLUMNS)
    assert row.cells["found"] == [100.0]
    assert row.said == "lost 0"
    assert row.cells["memory_mb"][0] > row.cells["kernel_mb"][0] > 0


def test_what_a_ring_has_no_room_for_is_counted_to_the_last_record() -> None:
    """Of a flood into a ring that is far too small, what came and what is told as lost are all that was made."""
    tool, count = next(each for each in streams.CONTENDERS if each[0].name == streams.SMALL)
    # Smaller than in the comparison, where a loaded machine may make too few calls to fill it between two looks.
    tool = replace(tool, start=partial(streams.into_numpy, "--ring-bytes", "4096"))
    found = Gathering()
    streams.one(tool, count, 2_000_000, 0.5, found)

    (row,) = found.rows([tool.name], streams.COLUMNS)
    # Others on this machine may make the same call: more, never fewer.
    assert row.cells["accounted"][0] >= 100
    assert row.cells["delivered"][0] < 100


def test_a_tool_without_descriptors_has_attached_when_it_says_so() -> None:
    """SystemTap's module is in the kernel, and its process holds nothing that can be looked at."""
    late = "sleep 0.2; echo attached; exec sleep 30"
    with running("sh", "-c", late, says="attached") as session:
        assert "attached" in session.told()
        assert session.attached_s > 0.2

    with (
        pytest.raises(CannotRunError, match="no module"),
        running("sh", "-c", "echo no module", says="attached"),
    ):
        pass


def test_a_tool_that_is_not_there_is_named_with_the_reason() -> None:
    found = Gathering()
    missing = Contender("nothing", "peer", partial(running, "no-such-tool"))
    with started(missing, found) as session:
        assert session is None

    (row,) = found.rows(["nothing"], [])
    assert "no-such-tool is not installed" in row.missing


def test_a_tool_that_ends_is_quoted() -> None:
    found = Gathering()
    with started(Contender("false", "peer", partial(running, "ls", "/nonexistent")), found) as session:
        assert session is None

    (row,) = found.rows(["false"], [])
    assert "it ended with status 2 and said: ls: cannot access '/nonexistent'" in row.missing


def test_a_floor_takes_nothing() -> None:
    with OURS[syscall_tools.FLOOR].start() as session:
        assert session == Session()


@pytest.mark.parametrize(
    ("running", "processes_min"),
    [
        ("from benchmarks.workloads.mixed_load import mixed_load as started", 8),
        ("from benchmarks.ease import busy as started", 1),
        ("from benchmarks.contenders.contender import sonde\nstarted = lambda: sonde('top', 'syscalls')", 1),
        ("from benchmarks.otlp import receiver\nstarted = lambda: receiver('http/protobuf')", 1),
    ],
)
def test_what_a_benchmark_started_ends_with_it_even_where_that_is_killed(
    running: str, processes_min: int
) -> None:
    """Else it would burn all CPUs, or trace them, for ever."""
    code = f"import time\n{running}\nwith started():\n    time.sleep(1)\n    print('ready', flush=True)\n    time.sleep(600)"
    command = [sys.executable, "-c", code]
    root = Path(__file__).parents[2]
    paths = os.environ | {"PYTHONPATH": str(root / "tools")}
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=root, env=paths) as benchmark:
        try:
            assert benchmark.stdout is not None
            assert benchmark.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + 60
            while len(left := resources.tree(benchmark.pid)[1:]) < processes_min:
                assert time.monotonic() < deadline
                time.sleep(0.01)
        finally:
            benchmark.kill()
    deadline = time.monotonic() + 60
    while left := [pid for pid in left if is_alive(pid)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


@pytest.mark.parametrize("name", [syscall_tools.COUNTS, "perf stat"])
def test_work_begins_as_long_after_attaching_under_every_tool(name: str) -> None:
    """Who has just attached still gets itself ready, on a CPU that the work may want."""
    begun = time.perf_counter()
    with OURS[name].start() as session:
        rested_s = time.perf_counter() - begun - session.attached_s
    assert rested_s >= contender.SETTLE_S


@pytest.mark.parametrize("part", ["syscalls", "safety"])
def test_ctrl_c_ends_the_comparison_and_all_that_it_started(part: str) -> None:
    """In words, and with the status of a shell; a terminal sends it to all of its processes."""
    root = Path(__file__).parents[2]
    command = [sys.executable, "-m", "benchmarks", "--quick", "--part", part]
    paths = os.environ | {"PYTHONPATH": str(root / "tools")}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, cwd=root, env=paths, start_new_session=True
    ) as comparison:
        deadline = time.monotonic() + 60
        while not any(map(resources.held, left := resources.tree(comparison.pid)[1:])):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        os.killpg(comparison.pid, signal.SIGINT)
        _, told = comparison.communicate(timeout=60)

    assert comparison.returncode == 130
    assert "interrupted" in told
    assert "Traceback" not in told
    assert not [pid for pid in left if is_alive(pid)]


def test_one_that_had_to_be_killed_gave_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """How long it would have taken is not known: the limit is no figure of it."""
    monkeypatch.setattr(contender, "END_TIMEOUT_S", 0.0)
    with OURS[syscall_tools.COUNTS].start() as session:
        # So it takes longer than that, however quick it is.
        os.kill(session.pid, signal.SIGSTOP)

    assert session.cpu is not None
    assert session.ended_s is None
