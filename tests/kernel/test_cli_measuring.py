"""``sonde top``, ``trace`` and ``hist`` on the real kernel, as a person or a script runs them."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kernel.sonde_process import (
    SONDE,
    Child,
    Output,
    child,
    is_alive,
    line_with,
    output_of,
    ready,
    sonde,
    start,
    wait_until_gone,
)

CALLS = 10_007
CLOSE_FAILS = "import ctypes\nlibc = ctypes.CDLL(None)\n"
GETPPID = f"for _ in range({CALLS}): os.getppid()"
ROW = ["time", "pid", "comm", "syscall", "error", "count",
       "duration_sum_ns", "duration_p50_ns", "duration_p99_ns", "duration_max_ns"]  # fmt: skip
SHELL = ("sh", "-c")


def balanced(accounting: dict[str, object]) -> bool:
    """Whether the equation holds, in the figures as they are printed."""
    figures = {name: value for name, value in accounting.items() if isinstance(value, int)}
    lost = accounting["lost"]
    assert isinstance(lost, dict)
    parts = ("delivered", "aggregated", "filtered", "sampled_out")
    return figures["seen"] == sum(figures[name] for name in parts) + sum(lost.values())


def measured(*arguments: str, code: str = GETPPID) -> tuple[Output, Child]:
    """Run a child's code under a measurement of that child alone, and end the child."""
    with child(code) as made, ready(*arguments, "--pid", str(made.pid), "--format", "json") as process:
        made.run()
        made.end()
        return output_of(process), made


def count_of(output: Output, syscall: str, error: str | None = None) -> int:
    return sum(row["count"] for row in output.final if row["syscall"] == syscall and row["error"] == error)


@pytest.mark.parametrize("extra", [[], ["--count-only"]], ids=["latency", "count-only"])
def test_json_counts_a_process_to_the_last_call(extra: list[str]) -> None:
    output, made = measured("top", "syscalls", *extra)

    assert output.status == 0
    assert count_of(output, "getppid") == CALLS
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


def test_latencies_are_there_and_in_order() -> None:
    output, _ = measured("top", "syscalls")
    (row,) = [row for row in output.final if row["syscall"] == "getppid"]

    assert 0 < row["duration_p50_ns"] <= row["duration_p99_ns"] <= row["duration_max_ns"]
    assert CALLS * 10 < row["duration_sum_ns"] <= CALLS * row["duration_max_ns"]


def test_errors_have_their_names() -> None:
    output, _ = measured(
        "top", "syscalls", "--errors", code=f"{CLOSE_FAILS}for _ in range(503): libc.close(-1)"
    )

    assert count_of(output, "close", "EBADF") == 503
    assert all(row["error"] for row in output.rows)


def test_only_the_calls_that_were_named() -> None:
    output, _ = measured("top", "syscalls", "--syscall", "getppid,getuid", code=f"os.getuid()\n{GETPPID}")

    assert {row["syscall"]: row["count"] for row in output.final} == {"getppid": CALLS, "getuid": 1}


def test_a_repeated_knob_adds_to_its_list() -> None:
    output, _ = measured(
        "top", "syscalls", "--syscall", "getppid", "--syscall", "getuid", code="os.getuid(); os.getppid()"
    )

    assert {row["syscall"] for row in output.final} == {"getppid", "getuid"}


def measured_in_parts(*arguments: str, parts: int) -> Output:
    """Let a child make 101 calls, wait until they are shown, and again."""
    options = ("--every", "50ms", "--syscall", "getppid", "--format", "json")
    text = ""
    with (
        child("for _ in range(101): os.getppid()") as made,
        ready("top", "syscalls", "--pid", str(made.pid), *options, *arguments) as process,
    ):
        for part in range(1, parts + 1):
            made.run()
            text += line_with(process, f'"count":{101 if arguments else 101 * part},')
        made.end()
        return output_of(process, text)


def test_deltas_add_up_to_the_total() -> None:
    output = measured_in_parts("--delta", parts=3)

    assert [row["count"] for row in output.rows] == [101, 101, 101]
    assert output.accounting["aggregated"] == 303


def test_cumulative_rows_only_grow() -> None:
    counts = [row["count"] for row in measured_in_parts(parts=3).rows]

    assert counts == sorted(counts)
    assert set(counts) == {101, 202, 303}


def test_it_ends_with_the_process_that_it_measures() -> None:
    with child("pass") as made, ready("top", "syscalls", "--pid", str(made.pid)) as process:
        made.run()
        started = time.monotonic()
        made.end()
        assert output_of(process).status == 0

    assert time.monotonic() - started < 10


# ---- a command behind -- ---------------------------------------------------------------------------------------


def test_a_command_is_measured_from_its_first_call_to_its_last() -> None:
    output = sonde("top", "syscalls", "--format", "json", "--", "/bin/true")

    assert output.status == 0
    assert count_of(output, "execve") == 1
    assert count_of(output, "exit_group") == 1
    assert balanced(output.accounting)


def test_all_that_a_command_starts_is_measured_too() -> None:
    code = f"import os\nfor _ in range(3):\n    if not os.fork():\n        {GETPPID}\n        os._exit(0)\nfor _ in range(3): os.wait()"
    output = sonde("top", "syscalls", "--format", "json", "--", sys.executable, "-c", code)

    assert count_of(output, "getppid") == 3 * CALLS
    assert len({row["pid"] for row in output.final if row["syscall"] == "getppid"}) == 3


@pytest.mark.parametrize(("script", "status"), [("exit 7", 7), ("kill -9 $$", 137), ("exit 0", 0)])
def test_the_commands_status_is_sondes(script: str, status: int) -> None:
    assert sonde("top", "syscalls", "--", *SHELL, script).status == status


def test_the_command_keeps_its_input_and_output(tmp_path: Path) -> None:
    rows = tmp_path / "rows"
    process = start(
        "top", "syscalls", "-o", str(rows), "--", *SHELL, "cat; echo trouble >&2", stdin=subprocess.PIPE
    )
    out, err = process.communicate("through\n", timeout=60)

    assert (process.returncode, out, err) == (0, "through\n", "trouble\n")
    assert "seen " in rows.read_text()


def test_a_command_is_shown_once_at_its_end_unless_an_interval_is_given() -> None:
    once = sonde("top", "syscalls", "--format", "json", "--", "sleep", "1.3")
    often = sonde("top", "syscalls", "--format", "json", "--every", "200ms", "--", "sleep", "1.3")

    assert len({row["time"] for row in once.rows}) == 1
    assert len({row["time"] for row in often.rows}) > 3


def test_a_command_that_outlives_the_measurement_is_ended() -> None:
    started = time.monotonic()
    output = sonde(
        "top", "syscalls", "--for", "500ms", "--format", "json", "--", *SHELL, "echo $$ >&2; exec sleep 60"
    )

    assert output.status == 0
    assert time.monotonic() - started < 30
    assert wait_until_gone([int(output.err)])


def test_a_command_that_is_not_there_is_a_sentence() -> None:
    output = sonde("top", "syscalls", "--", "no-such-command")

    assert (output.status, output.err) == (127, "sonde: start no-such-command: there is no such command\n")


@pytest.mark.parametrize(
    ("mode", "words"),
    [(0o644, "it is no program that may be executed"), (0o755, "the kernel cannot execute it")],
)
def test_a_file_that_is_no_program_is_a_sentence(mode: int, words: str, tmp_path: Path) -> None:
    path = tmp_path / "words"
    path.write_text("these are words\n")
    path.chmod(mode)
    output = sonde("top", "syscalls", "-o", "/dev/null", "--", str(path))

    assert output.status == 126
    assert output.err.startswith(f"sonde: start {path}: {words}")


def test_a_commands_own_126_is_its_own() -> None:
    output = sonde("top", "syscalls", "-o", "/dev/null", "--", *SHELL, "exit 126")

    assert (output.status, output.err) == (126, "")


def test_a_command_never_runs_when_the_measurement_cannot_begin(tmp_path: Path) -> None:
    """It stands still before its execve until everything is attached, and is gone if that fails."""
    output = sonde("top", "syscalls", "--max-entries", "4000000000", "--", "touch", str(tmp_path / "ran"))

    assert output.status == 2
    assert output.err == "sonde: --max-entries 4000000000: the kernel has no room for so many: give fewer\n"
    assert not (tmp_path / "ran").exists()


# ---- the end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("verb", ["top", "trace", "hist"])
def test_a_signal_ends_it_with_the_final_table_and_the_accounting(verb: str, number: int) -> None:
    with child(GETPPID) as made, ready(verb, "syscalls", "--pid", str(made.pid)) as process:
        made.run()
        process.send_signal(number)
        output = output_of(process)

    assert output.status == 0
    assert "getppid" in output.out
    equation = next(line for line in output.out.splitlines()[::-1] if line.startswith("seen "))
    assert "(so far)" not in equation
    assert "NOT BALANCED" not in equation


def test_a_signal_that_is_ignored_stays_so() -> None:
    """As nohup wants it."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with (
            child("pass") as made,
            ready("top", "syscalls", "--pid", str(made.pid), "--for", "1s") as process,
        ):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            assert process.poll() is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_it_ends_when_the_time_is_over() -> None:
    started = time.monotonic()
    output = sonde("top", "syscalls", "--for", "300ms", "--format", "json")

    assert output.status == 0
    assert time.monotonic() - started < 30
    assert balanced(output.accounting)


def test_nothing_stays_in_the_kernel_after_a_kill() -> None:
    with ready("top", "syscalls") as process:
        inside = programs_of(process.pid)
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 10
    while any(map(is_loaded, inside)) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert len(inside) == 2
    assert not any(map(is_loaded, inside))


def programs_of(pid: int) -> set[int]:
    """Numbers of the programs that a process holds."""
    texts = [path.read_text() for path in Path(f"/proc/{pid}/fdinfo").iterdir()]
    return {int(number) for text in texts for number in re.findall(r"^prog_id:\s+(\d+)", text, re.MULTILINE)}


def is_loaded(number: int) -> bool:
    from sonde._libbpf import lib

    fd = lib.bpf_prog_get_fd_by_id(number)
    if fd >= 0:
        os.close(fd)
    return bool(fd >= 0)


# ---- formats and where they go ---------------------------------------------------------------------------------


def test_one_byte_says_that_it_is_attached() -> None:
    read_end, write_end = os.pipe()
    process = start("top", "syscalls", "--for", "200ms", "--ready-fd", str(write_end), pass_fds=(write_end,))
    os.close(write_end)
    output_of(process)
    with os.fdopen(read_end, "rb") as pipe:
        assert len(pipe.read()) == 1


def test_csv_has_one_header_and_the_same_counts() -> None:
    with (
        child(GETPPID) as made,
        ready("top", "syscalls", "--pid", str(made.pid), "--format", "csv") as process,
    ):
        made.run()
        made.end()
        output = output_of(process)
    rows = list(csv.DictReader(io.StringIO(output.out)))

    assert list(rows[0]) == ROW
    assert next(row["count"] for row in rows[::-1] if row["syscall"] == "getppid") == str(CALLS)
    assert output.err.startswith("seen ")


def test_a_pipe_gets_plain_lines_with_an_equation_under_every_table() -> None:
    output = sonde("top", "syscalls", "--for", "3s", "--every", "200ms")
    blocks = output.out.split("\n\n")

    assert len(blocks) >= 3
    assert all(
        re.search(r"^seen [\d,]+ = aggregated [\d,]+ .*lost 0", block, re.MULTILINE) for block in blocks
    )
    assert all("(so far)" in block for block in blocks[:-1])
    assert "(so far)" not in blocks[-1]
    assert "\x1b" not in output.out


def test_rows_are_limited_and_sorted_as_asked() -> None:
    output = sonde(
        "top", "syscalls", "--for", "300ms", "--limit", "3", "--sort", "syscall", "--format", "json"
    )
    names = [row["syscall"] for row in output.final]

    assert len(names) == 3
    assert names == sorted(names)


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text("x" * 1_000_000)
    output = sonde("top", "syscalls", "--for", "100ms", "--limit", "1", "-o", str(path))

    assert (output.status, output.out) == (0, "")
    assert path.stat().st_size < 100_000
    assert "xxx" not in path.read_text()


def test_a_full_disk_is_a_sentence() -> None:
    output = sonde("top", "syscalls", "--for", "100ms", "-o", "/dev/full")

    assert (output.status, output.err) == (1, "sonde: write /dev/full: no space left on device (ENOSPC)\n")


@pytest.mark.parametrize("format_", ["table", "json", "csv"])
def test_a_full_standard_output_is_a_sentence(format_: str) -> None:
    with open("/dev/full", "w") as full:
        process = start("top", "syscalls", "--for", "100ms", "--format", format_, stdout=full)
        _, err = process.communicate(timeout=60)

    assert (process.returncode, err) == (1, "sonde: write the output: no space left on device (ENOSPC)\n")


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    process = start("trace", "syscalls")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    process.wait(timeout=60)
    assert process.stderr is not None

    assert (process.returncode, process.stderr.read()) == (141, "")
    process.stderr.close()


def test_a_closed_standard_output_is_a_sentence() -> None:
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *SONDE, "top", "syscalls"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (run.returncode, run.stderr) == (
        1,
        "sonde: write the output: standard output is closed: give -o FILE\n",
    )


def test_a_directory_that_is_not_there_is_told_before_anything_is_attached() -> None:
    output = sonde("top", "syscalls", "-o", "/no/such/place")

    assert output.status == 1
    assert (
        output.err
        == "sonde: write /no/such/place: no such file or directory (ENOENT): give -o another path\n"
    )


# ---- what is missing -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["top", "trace", "hist"])
def test_without_capabilities_one_sentence_names_them_and_the_status_is_77(verb: str) -> None:
    """As root by its number and without capabilities: what counts is tried."""
    run = subprocess.run(
        ["setpriv", "--inh-caps=-all", "--bounding-set=-all", *SONDE, verb, "syscalls"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (run.returncode, run.stdout) == (77, "")
    assert run.stderr.count("\n") == 1
    assert "CAP_BPF, CAP_PERFMON" in run.stderr
    assert (
        "run it with sudo, or as a systemd service with AmbientCapabilities=CAP_BPF CAP_PERFMON" in run.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--syscall", "reed"], "the nearest are read"),
        (["--pid", "4194305"], "there is no process 4194305"),
        (["--cgroup", "/no/such/cgroup"], "is no cgroup of version 2"),
        (["--comm", "a-name-that-is-too-long"], "the kernel keeps 1 to 15 bytes, which is a-name-that-is-"),
        (["--sample", "-1"], "0..4294967295"),
        (["--ready-fd", "77"], "is no open descriptor"),
    ],
)
def test_a_bad_value_is_one_sentence_with_status_2(arguments: list[str], words: str) -> None:
    output = sonde("top", "syscalls", *arguments)

    assert output.status == 2
    assert words in output.err
    assert output.err.count("\n") == 1


# ---- trace and hist --------------------------------------------------------------------------------------------


def test_a_trace_delivers_every_call_with_arguments_and_result() -> None:
    output, made = measured(
        "trace", "syscalls", code=f"{CLOSE_FAILS}for at in range(211): libc.close(1000 + at)"
    )
    calls = [row for row in output.rows if row["syscall"] == "close" and row["error"] == "EBADF"]

    assert output.status == 0
    assert [row["args"][0] for row in calls] == list(range(1000, 1211))
    assert {(row["pid"], row["tid"], row["result"]) for row in calls} == {(made.pid, made.pid, -9)}
    assert all(row["duration_ns"] > 0 for row in calls)
    assert [row["time"] for row in calls] == sorted(row["time"] for row in calls)
    assert output.accounting["delivered"] == len(output.rows)
    assert balanced(output.accounting)


def test_the_times_of_a_trace_are_the_wall_clocks() -> None:
    before = time.time()
    output, _ = measured("trace", "syscalls", code="os.getppid()")
    row = next(row for row in output.rows if row["syscall"] == "getppid")
    moment = time.strptime(row["time"][:19], "%Y-%m-%dT%H:%M:%S")

    import calendar

    assert before - 2 <= calendar.timegm(moment) <= time.time() + 2


def test_only_slow_calls_are_traced_when_asked() -> None:
    output, _ = measured(
        "trace", "syscalls", "--min-latency", "20ms", code="import time\nos.getppid()\ntime.sleep(0.05)"
    )
    names = {row["syscall"] for row in output.rows}

    assert "getppid" not in names
    assert names & {"clock_nanosleep", "select", "pselect6"}
    assert all(row["duration_ns"] >= 20_000_000 for row in output.rows)


def test_a_trace_ends_after_its_limit() -> None:
    output = sonde("trace", "syscalls", "--limit", "5", "--format", "json")

    assert output.status == 0
    assert len(output.rows) == 5
    assert output.accounting["delivered"] >= 5


def test_a_small_ring_under_a_storm_loses_records_and_says_so() -> None:
    output, _ = measured("trace", "syscalls", "--max-entries", "4096")

    assert output.accounting["lost"].get("ring_full", 0) > 0
    assert output.accounting["delivered"] == len(output.rows)
    assert balanced(output.accounting)


def test_the_buckets_of_a_histogram_hold_every_call() -> None:
    output, _ = measured("hist", "syscalls", "--by", "syscall")
    (row,) = [row for row in output.final if row["syscall"] == "getppid"]

    assert row["count"] == sum(row["counts"]) == CALLS
    assert len(row["bounds_ns"]) == len(row["counts"]) + 1
    assert row["bounds_ns"] == sorted(row["bounds_ns"])
    assert row["bounds_ns"][0] < row["p50_ns"] <= row["p99_ns"] <= row["max_ns"]


def test_a_histogram_can_be_of_everything() -> None:
    output, _ = measured("hist", "syscalls", "--by", "all")

    assert len(output.final) == 1
    assert output.final[0]["count"] >= CALLS


def test_a_histogram_for_people_has_bars() -> None:
    with child(GETPPID) as made, ready("hist", "syscalls", "--pid", str(made.pid)) as process:
        made.run()
        made.end()
        output = output_of(process)

    assert re.search(rf"^getppid: {CALLS:,}, p50 [\d.]+ [nµ]s", output.out, re.MULTILINE)
    assert "█" * 40 in output.out


# ---- start -----------------------------------------------------------------------------------------------------


def test_a_table_counts_before_numpy_and_rich_are_imported() -> None:
    code = (
        "import sys\n"
        "from sonde.run import Run\n"
        "start = Run.start\n"
        "def noted(self):\n"
        "    start(self)\n"
        "    print('attached', [name for name in ('numpy', 'rich', 'msgspec') if name in sys.modules], file=sys.stderr)\n"
        "Run.start = noted\n"
        "from sonde.cli import main\n"
        "main(['top', 'syscalls', '--for', '100ms'])\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )

    assert (run.returncode, run.stderr) == (0, "attached []\n")


def test_a_stopped_child_is_not_left_behind() -> None:
    """Not even when sonde itself is killed while it starts."""
    process = start("top", "syscalls", "--format", "json", "--", "sleep", "0.1")
    output = output_of(process)

    assert output.status == 0
    assert not is_alive(process.pid)
