"""``sonde top``, ``trace`` and ``hist`` on the real kernel, as a person or a script runs them."""

from __future__ import annotations

import fcntl
import json
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel.sonde_process import (
    PATIENCE_S,
    ROW,
    Child,
    Output,
    balanced,
    busy,
    child,
    count_of,
    output_of,
    ready,
    sonde,
    standing_still,
    start,
)

# A guest runs what asks the kernel; a measurement takes it many seconds to start.
host_only = pytest.mark.host_only

CALLS = 10_007
CLOSE_FAILS = "import ctypes\nlibc = ctypes.CDLL(None)\n"
GETPPID = f"for _ in range({CALLS}): os.getppid()"


def measured(*arguments: str, code: str = GETPPID) -> tuple[Output, Child]:
    """Run a child's code under a measurement of that child alone, and end the child."""
    with child(code) as made, ready(*arguments, "--pid", str(made.pid), "--format", "json") as process:
        made.run()
        made.end()
        return output_of(process), made


def skipped(output: Output) -> int:
    """Calls for which the kernel says that it did not run the program (Linux 7.x); anyone's."""
    lost: int = output.accounting["lost"].get("recursion", 0)
    return lost


@pytest.mark.parametrize("extra", [[], ["--count-only"]], ids=["latency", "count-only"])
def test_json_counts_a_process_to_the_last_call(extra: list[str]) -> None:
    output, made = measured("top", "syscalls", *extra)

    assert output.status == 0
    assert CALLS - skipped(output) <= count_of(output, "getppid") <= CALLS
    assert {row["pid"] for row in output.rows} == {made.pid}
    assert all(list(row) == ROW for row in output.rows)
    assert balanced(output.accounting)
    assert list(output.accounting)[:7] == [
        "seen",
        "delivered",
        "aggregated",
        "filtered",
        "sampled_out",
        "lost",
        "in_flight",
    ]
    assert output.accounting["aggregated"] == sum(row["count"] for row in output.final)


@host_only
def test_latencies_are_there_and_in_order() -> None:
    output, _ = measured("top", "syscalls")
    (row,) = [row for row in output.final if row["syscall"] == "getppid"]

    assert 0 < row["duration_p50_ns"] <= row["duration_p99_ns"] <= row["duration_max_ns"]
    assert CALLS * 10 < row["duration_sum_ns"] <= CALLS * row["duration_max_ns"]


@host_only
def test_errors_have_their_names() -> None:
    output, _ = measured(
        "top", "syscalls", "--errors", code=f"{CLOSE_FAILS}for _ in range(503): libc.close(-1)"
    )

    assert count_of(output, "close", "EBADF") == 503
    assert all(row["error"] for row in output.rows)


@host_only
def test_only_the_calls_that_were_named() -> None:
    output, _ = measured("top", "syscalls", "--syscall", "getppid,getuid", code=f"os.getuid()\n{GETPPID}")

    assert {row["syscall"]: row["count"] for row in output.final} == {"getppid": CALLS, "getuid": 1}


@host_only
def test_a_repeated_knob_adds_to_its_list() -> None:
    output, _ = measured(
        "top", "syscalls", "--syscall", "getppid", "--syscall", "getuid", code="os.getuid(); os.getppid()"
    )

    assert {row["syscall"] for row in output.final} == {"getppid", "getuid"}


def is_writing(pid: int, fd: int) -> bool:
    """Whether a process waits in write() to a descriptor."""
    words = Path(f"/proc/{pid}/syscall").read_text().split()
    return len(words) > 1 and int(words[0]) in (1, 64) and int(words[1], 16) == fd


@host_only
@pytest.mark.parametrize(
    "command", [["top", "syscalls"], ["record", "syscalls.counts", "-o", "/dev/null"]], ids=["top", "record"]
)
def test_what_ends_as_soon_as_it_is_attached_was_measured(command: list[str]) -> None:
    """Nobody takes the byte of --ready-fd until the process has made its calls and is gone."""
    read_end, write_end = os.pipe()
    os.write(write_end, bytes(fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)))
    with child("for _ in range(101): os.getuid()") as made:
        arguments = [*command, "--syscall", "getuid", "--pid", str(made.pid), "--ready-fd", str(write_end)]
        process = start(*arguments, pass_fds=(write_end,))
        os.close(write_end)
        deadline = time.monotonic() + PATIENCE_S
        while not is_writing(process.pid, write_end):
            assert process.poll() is None, output_of(process)
            assert time.monotonic() < deadline
            time.sleep(0.02)
        made.run()
        made.end()
        os.read(read_end, 1 << 16)
        output = output_of(process)
    os.close(read_end)

    assert (output.status, "101" in output.out + output.err) == (0, True), output


def measured_in_parts(*arguments: str, shown: Callable[[list[int]], int], parts: int) -> Output:
    """Let a child make 101 calls, wait until they are shown, and again; ``shown`` tells how many, of the rows' counts.

    A reading may come in the middle of them.
    """
    options = ("--every", "50ms", "--syscall", "getppid", "--format", "json")
    text, counts = "", list[int]()
    with (
        child("for _ in range(101): os.getppid()") as made,
        ready("top", "syscalls", "--pid", str(made.pid), *options, *arguments) as process,
    ):
        assert process.stdout is not None
        for part in range(1, parts + 1):
            made.run()
            while shown(counts) < 101 * part:
                line = process.stdout.readline()
                assert line, f"it ended: {text}"
                text += line
                counts.append(json.loads(line)["count"])
        made.end()
        return output_of(process, text)


@host_only
def test_deltas_add_up_to_the_total() -> None:
    output = measured_in_parts("--delta", shown=sum, parts=3)

    assert sum(row["count"] for row in output.rows) == 303
    assert output.accounting["aggregated"] == 303


@host_only
def test_cumulative_rows_only_grow() -> None:
    counts = [
        row["count"] for row in measured_in_parts(shown=lambda counts: max(counts, default=0), parts=3).rows
    ]

    assert counts == sorted(counts)
    assert {101, 202, 303} <= set(counts)


@host_only
def test_it_ends_with_the_process_that_it_measures() -> None:
    with child("pass") as made, ready("top", "syscalls", "--pid", str(made.pid)) as process:
        made.run()
        made.end()
        # Nobody else ends it.
        assert output_of(process).status == 0


# ---- trace and hist --------------------------------------------------------------------------------------------


def test_a_trace_delivers_every_call_with_arguments_and_result() -> None:
    output, made = measured(
        "trace", "syscalls", code=f"{CLOSE_FAILS}for at in range(211): libc.close(1000 + at)"
    )
    calls = [row for row in output.rows if row["syscall"] == "close" and row["error"] == "EBADF"]
    closed = [row["args"][0] for row in calls]

    assert output.status == 0
    assert closed == sorted({*closed} & {*range(1000, 1211)})
    assert len(closed) >= 211 - skipped(output)
    assert {(row["pid"], row["tid"], row["result"]) for row in calls} == {(made.pid, made.pid, -9)}
    assert all(row["duration_ns"] > 0 for row in calls)
    assert [row["time"] for row in calls] == sorted(row["time"] for row in calls)
    assert output.accounting["delivered"] == len(output.rows)
    assert balanced(output.accounting)


@host_only
def test_the_times_of_a_trace_are_the_wall_clocks() -> None:
    before = time.time()
    output, _ = measured("trace", "syscalls", code="os.getppid()")
    row = next(row for row in output.rows if row["syscall"] == "getppid")
    moment = time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")

    import calendar

    assert before - 2 <= calendar.timegm(moment) <= time.time() + 2


@host_only
def test_only_slow_calls_are_traced_when_asked() -> None:
    output, _ = measured(
        "trace", "syscalls", "--min-latency", "20ms", code="import time\nos.getppid()\ntime.sleep(0.05)"
    )
    names = {row["syscall"] for row in output.rows}

    assert "getppid" not in names
    assert names & {"clock_nanosleep", "select", "pselect6"}
    assert all(row["duration_ns"] >= 20_000_000 for row in output.rows)


@host_only
def test_a_trace_ends_after_its_limit() -> None:
    with busy() as pid:
        output = sonde("trace", "syscalls", "--pid", str(pid), "--limit", "5", "--format", "json")

    assert output.status == 0
    assert len(output.rows) == 5
    assert output.accounting["delivered"] >= 5


@host_only
def test_a_trace_takes_no_more_a_second_than_its_rate() -> None:
    output, _ = measured("trace", "syscalls", "--syscall", "getppid", "--rate-max", "7")

    assert output.accounting["lost"]["rate"] == CALLS - len(output.rows)
    assert len(output.rows) == output.accounting["delivered"]
    assert 7 <= len(output.rows) < CALLS / 7
    assert balanced(output.accounting)


@host_only
def test_a_small_ring_under_a_storm_loses_records_and_says_so() -> None:
    options = ("--max-entries", "4096", "--format", "json")
    with child(GETPPID) as made, ready("trace", "syscalls", "--pid", str(made.pid), *options) as process:
        with standing_still(process):
            made.run()
        made.end()
        output = output_of(process)

    assert output.accounting["lost"].get("ring_full", 0) > 0
    assert output.accounting["delivered"] == len(output.rows)
    assert balanced(output.accounting)


def test_the_buckets_of_a_histogram_hold_every_call() -> None:
    output, _ = measured("hist", "syscalls", "--by", "syscall")
    (row,) = [row for row in output.final if row["syscall"] == "getppid"]

    assert CALLS - skipped(output) <= row["count"] == sum(row["counts"]) <= CALLS
    assert len(row["bounds_ns"]) == len(row["counts"]) + 1
    assert row["bounds_ns"] == sorted(row["bounds_ns"])
    assert row["bounds_ns"][0] < row["p50_ns"] <= row["p99_ns"] <= row["max_ns"]


@host_only
def test_a_histogram_can_be_of_everything() -> None:
    output, _ = measured("hist", "syscalls", "--by", "all")

    assert len(output.final) == 1
    assert output.final[0]["count"] >= CALLS


@host_only
def test_a_histogram_for_people_has_bars() -> None:
    with child(GETPPID) as made, ready("hist", "syscalls", "--pid", str(made.pid)) as process:
        made.run()
        made.end()
        output = output_of(process)

    assert re.search(rf"^getppid: {CALLS:,}, p50 [\d.]+ [nµ]s", output.out, re.MULTILINE)
    assert "█" * 40 in output.out
