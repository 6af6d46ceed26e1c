"""Who a process of the stream ``lifecycle`` is: its numbers, its name, the program that it runs."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from sonde.probe import Selection
from sonde.probes.processes.child import (
    PROCESSES,
    child,
    done,
    records,
    rest_of,
)
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_a_record_says_who_it_is() -> None:
    """Pid, parent, start and user are those that /proc had; the executable is what the link there pointed to."""
    code = (
        "import json\n"
        "stat = open('/proc/self/stat').read().rpartition(')')[2].split()\n"
        "pid = os.posix_spawn('/bin/sleep', ['sleep', '0.05'], {})\n"
        "os.waitpid(pid, 0)\n"
        "print(json.dumps({'start': int(stat[19]), 'pid': pid, 'sleep': os.path.realpath('/bin/sleep')}))"
    )
    with (
        child(code) as started,
        Run(PROCESSES, "lifecycle", selection=Selection(pid=started.pid, children=True)) as run,
    ):
        told = json.loads(done(started))
        run.stop()
        rows = [row for batch in rest_of(run) for row in batch.rows()]

    fork, execute, end = (row for row in rows if row["pid"] == told["pid"])
    assert ["fork", "exec", "exit"] == [fork["event"], execute["event"], end["event"]]
    assert told["sleep"] == execute["executable"]
    assert "sleep" == execute["comm"] == end["comm"]
    assert {started.pid} == {fork["ppid"], execute["ppid"]}
    tick_ns = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
    assert abs(fork["parent_start_ns"] // tick_ns - told["start"]) <= 1
    assert fork["process_start_ns"] == execute["process_start_ns"] == end["process_start_ns"]
    assert 50_000_000 <= end["lifetime_ns"]
    assert {os.geteuid()} == {fork["uid"], execute["uid"]}
    assert "0" == end["exit"]


def test_a_process_that_lives_five_milliseconds_is_told_of_whole() -> None:
    """It is over before anybody reads, and its name, program and end are all there."""
    code = "for _ in range(5): os.waitpid(os.posix_spawn('/bin/sleep', ['sleep', '0.005'], {}), 0)"
    rows, _, _ = records(code)

    ends = [row for row in rows if row["event"] == "exit" and row["comm"] == "sleep"]
    assert 5 == len(ends)
    assert all(5_000_000 <= row["lifetime_ns"] < 30_000_000_000 for row in ends)
    paths = [row["executable"] for row in rows if row["event"] == "exec"]
    assert [os.path.realpath("/bin/sleep")] * 5 == paths


def test_the_executable_of_a_script_is_its_interpreter(tmp_path: Path) -> None:
    """As /proc/PID/exe has it; the process is called as the script."""
    script = tmp_path / "a-script"
    script.write_text("#!/bin/sh\nexit 7\n")
    script.chmod(0o755)
    rows, _, _ = records(f"os.waitpid(os.posix_spawn({str(script)!r}, ['x'], {{}}), 0)")

    (execute,) = (row for row in rows if row["event"] == "exec")
    assert os.path.realpath("/bin/sh") == execute["executable"]
    assert "a-script" == execute["comm"]
    assert ["7"] == [row["exit"] for row in rows if row["comm"] == "a-script" and row["event"] == "exit"]


def test_an_exec_that_fails_is_no_exec(tmp_path: Path) -> None:
    """Neither a missing file nor one that is no program counts."""
    nothing = tmp_path / "nothing"
    nothing.write_bytes(b"\x00\x01")
    nothing.chmod(0o755)
    code = (
        "for path in (sys.argv[1], '/nonexistent'):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        try: os.execv(path, ['x'])\n"
        "        except OSError: os._exit(9)\n"
        "    os.waitpid(pid, 0)"
    )
    rows, last, _ = records(code, str(nothing))

    assert 2 == sum(row["exit"] == "9" for row in rows)
    assert 0 == sum(row["event"] == "exec" for row in rows)
    assert last.accounting.balanced, str(last.accounting)


THREAD_EXECS = """
import threading, time
threading.Thread(target=os.execv, args=("/bin/sleep", ["sleep", "0.01"])).start()
time.sleep(60)
"""


def test_a_thread_that_execs_becomes_the_process() -> None:
    """It takes the number and the start of the first thread: one exec, one exit, of the same process."""
    rows, last, pid = records(THREAD_EXECS)

    assert [("exec", pid), ("exit", pid)] == [(row["event"], row["pid"]) for row in rows]
    assert rows[0]["process_start_ns"] == rows[1]["process_start_ns"]
    assert "sleep" == rows[1]["comm"]
    assert last.accounting.balanced, str(last.accounting)


HOSTILE = b"e\x1b[31m\xff\"'\n\x07"


def test_hostile_names_come_through_as_they_are(tmp_path: Path) -> None:
    """Control characters, quotes and bytes that are no UTF-8, in the file's name and so in the process's."""
    program = os.fsencode(tmp_path) + b"/" + HOSTILE
    Path(os.fsdecode(program)).write_bytes(Path("/bin/true").resolve().read_bytes())
    os.chmod(program, 0o755)
    code = f"os.waitpid(os.posix_spawn({program!r}, [b'x'], {{}}), 0)"
    rows, _, _ = records(code)

    (execute,) = (row for row in rows if row["event"] == "exec")
    assert program == os.fsencode(execute["executable"])
    assert HOSTILE[:15] == os.fsencode(execute["comm"])


def test_a_path_that_is_too_long_keeps_its_end(tmp_path: Path) -> None:
    """Beyond 510 bytes the end of the path is left, with an ellipsis before it; the name is whole."""
    folder = tmp_path.joinpath(*(["d" * 99] * 7))
    folder.mkdir(parents=True)
    program = folder / "true"
    program.write_bytes(Path("/bin/true").resolve().read_bytes())
    program.chmod(0o755)
    rows, _, _ = records(f"os.waitpid(os.posix_spawn({str(program)!r}, ['x'], {{}}), 0)")

    (execute,) = (row for row in rows if row["event"] == "exec")
    assert execute["executable"].startswith("…/")
    assert str(program).endswith(execute["executable"][1:])
    assert len(execute["executable"]) > 300


def test_a_program_without_a_file_has_a_name() -> None:
    """One that was loaded from memory is called as /proc calls it, but for the remark that it is deleted."""
    code = (
        "fd = os.memfd_create('in memory')\n"
        "os.write(fd, open('/bin/true', 'rb').read())\n"
        "pid = os.fork()\n"
        "if pid == 0: os.execve(fd, ['x'], {})\n"
        "os.waitpid(pid, 0)"
    )
    rows, _, _ = records(code)

    assert ["/memfd:in memory"] == [row["executable"] for row in rows if row["event"] == "exec"]
