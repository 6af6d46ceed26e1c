"""How measurements end and where their output goes: signals, formats, full disks, and what is said of mistakes."""

from __future__ import annotations

import csv
import io
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from kernel.sonde_process import (
    PATIENCE_S,
    ROW,
    SONDE,
    balanced,
    busy,
    child,
    is_alive,
    line_with,
    output_of,
    ready,
    sonde,
    start,
)

# The same on every kernel, and a virtual machine takes long for each of them.
pytestmark = pytest.mark.host_only

CALLS = 10_007
GETPPID = f"for _ in range({CALLS}): os.getppid()"


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
            ready("top", "syscalls", "--pid", str(made.pid)) as process,
        ):
            process.send_signal(signal.SIGHUP)
            time.sleep(0.3)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert output_of(process).status == 0
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
    deadline = time.monotonic() + 60
    while any(map(is_loaded, inside)) and time.monotonic() < deadline:
        time.sleep(0.1)

    assert len(inside) == 2
    assert not any(map(is_loaded, inside))


def programs_of(pid: int) -> set[int]:
    """Numbers of the programs that a process holds."""
    texts = []
    for path in Path(f"/proc/{pid}/fdinfo").iterdir():
        # It may have closed one meanwhile.
        with suppress(FileNotFoundError):
            texts.append(path.read_text())
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
    with busy() as pid, ready("top", "syscalls", "--pid", str(pid), "--every", "200ms") as process:
        begun = "".join(line_with(process, "(so far)") for _ in range(2))
        process.send_signal(signal.SIGINT)
        output = output_of(process, begun)
    blocks = output.out.split("\n\n")

    assert len(blocks) >= 3
    assert all(
        re.search(r"^seen [\d,]+ = aggregated [\d,]+ .*lost 0", block, re.MULTILINE) for block in blocks
    )
    assert all("(so far)" in block for block in blocks[:-1])
    assert "(so far)" not in blocks[-1]
    assert "\x1b" not in output.out


def test_rows_are_limited_and_sorted_as_asked() -> None:
    what = ("--limit", "3", "--sort", "syscall", "--format", "json")
    calls = "os.getppid(); os.getuid(); os.getgid(); os.getpgid(0)"
    with child(calls) as made, ready("top", "syscalls", "--pid", str(made.pid), *what) as process:
        made.run()
        process.send_signal(signal.SIGINT)
        output = output_of(process)
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
        _, err = process.communicate(timeout=PATIENCE_S)

    assert (process.returncode, err) == (1, "sonde: write the output: no space left on device (ENOSPC)\n")


def test_a_reader_that_goes_away_ends_it_quietly() -> None:
    with busy() as pid:
        process = start("trace", "syscalls", "--pid", str(pid))
        assert process.stdout is not None
        process.stdout.readline()
        process.stdout.close()
        process.wait(timeout=PATIENCE_S)
    assert process.stderr is not None

    assert (process.returncode, process.stderr.read()) == (141, "")
    process.stderr.close()


def test_a_closed_standard_output_is_a_sentence() -> None:
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *SONDE, "top", "syscalls"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert (run.returncode, run.stderr) == (
        1,
        "sonde: write the output: standard output is closed: give -o FILE\n",
    )


def test_a_file_needs_no_standard_output(tmp_path: Path) -> None:
    """As where a service or cron has closed it."""
    path = tmp_path / "rows"
    run = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *SONDE, "top", "syscalls", "-o", str(path), "--for", "300ms"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )

    assert (run.returncode, run.stderr) == (0, "")
    assert "\nseen " in path.read_text()


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
        timeout=PATIENCE_S,
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
        (["--sample", "-1"], "give a number from 1 on"),
        (["--ready-fd", "77"], "is no open descriptor"),
    ],
)
def test_a_bad_value_is_one_sentence_with_status_2(arguments: list[str], words: str) -> None:
    output = sonde("top", "syscalls", *arguments)

    assert output.status == 2
    assert words in output.err
    assert output.err.count("\n") == 1


# ---- start -----------------------------------------------------------------------------------------------------


def told_by(code: str) -> str:
    """Run Python code that runs sonde, and give what it says on standard error."""
    run = subprocess.run(
        [sys.executable, "-c", f"import sys\nfrom sonde.cli import main\n{code}"],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert run.returncode == 0, run.stderr
    return run.stderr


def test_a_table_counts_before_numpy_and_rich_are_imported() -> None:
    told = told_by(
        "from sonde.run import Run\n"
        "start = Run.start\n"
        "def noted(self):\n"
        "    start(self)\n"
        "    print('attached', [name for name in ('numpy', 'rich', 'msgspec') if name in sys.modules], file=sys.stderr)\n"
        "Run.start = noted\n"
        "main(['top', 'syscalls', '--for', '100ms'])\n"
    )

    assert told == "attached []\n"


def test_a_table_for_a_machine_loads_nothing_that_draws() -> None:
    """Nor a second encoder, for so few rows: together they would take two megabytes."""
    told = told_by(
        "try:\n"
        "    main(['top', 'syscalls', '--format', 'json', '--limit', '3', '--', 'true'])\n"
        "finally:\n"
        "    names = ('msgspec', 'rich', 'unicodedata', 'sonde.views.drawing')\n"
        "    print('loaded', [name for name in names if name in sys.modules], file=sys.stderr)\n"
    )

    assert told == "loaded []\n"


def test_a_stopped_child_is_not_left_behind() -> None:
    """Not even when sonde itself is killed while it starts."""
    process = start("top", "syscalls", "--format", "json", "--", "sleep", "0.1")
    output = output_of(process)

    assert output.status == 0
    assert not is_alive(process.pid)
