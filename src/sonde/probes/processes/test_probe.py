"""The probe ``processes`` on the real kernel: every process begins once, runs what it runs, and ends once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sonde.probe import Selection, Table
from sonde.probes import probe
from sonde.probes.processes.workload import EXIT_CODE, Workload
from sonde.records.accounting import Accounting
from sonde.records.model import RecordBatch
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

PROCESSES = probe("processes")
WORKLOAD = (
    "from sonde.probes.processes.workload import Workload; Workload(int(sys.argv[1]), int(sys.argv[2])).run()"
)


@contextmanager
def child(code: str, *arguments: str, program: str = sys.executable) -> Iterator[subprocess.Popen[str]]:
    """A process that waits for a line before it does what it is for, which ``done`` lets it do."""
    prelude = "import os, sys; sys.stdin.readline()\n"
    command = [program, "-c", prelude + code, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            yield started
        finally:
            started.kill()


def done(started: subprocess.Popen[str]) -> str:
    """Let it begin, and wait for its end; what it printed."""
    out, _ = started.communicate("\n", timeout=120)
    return out


def rest_of(run: Run) -> list[RecordBatch]:
    """Read a stopped stream to its end."""
    batches = [run.read()]
    while len(batches[-1]):
        batches.append(run.read())
    return batches


def records(
    code: str, *arguments: str, selection: Mapping[str, Any] | None = None, **options: Any
) -> tuple[list[dict[str, Any]], RecordBatch, int]:
    """Run Python code in a child and give the stream's records of it and its children, the last batch, its pid."""
    with child(code, *arguments) as started:
        chosen = Selection(**(selection or {"pid": started.pid, "children": True}))
        with Run(PROCESSES, "lifecycle", selection=chosen, **options) as run:
            done(started)
            run.stop()
            batches = rest_of(run)
    return [row for batch in batches for row in batch.rows()], batches[-1], started.pid


def counted(batch: RecordBatch, column: str) -> int:
    return int(sum(row[column] for row in batch.rows()))


def assert_told(expected: Mapping[Any, int], found: Mapping[Any, int], accounting: Accounting) -> None:
    """Each event is there, or among those for which the kernel says that it did not run the program (Linux 7.x).

    It does not while the program is preempted on that CPU. Where it never is every count is exact.
    """
    missing = {key: count - found[key] for key, count in expected.items()}
    assert min(missing.values()) >= 0, missing
    assert sum(missing.values()) <= accounting.lost["recursion"], missing
    assert accounting.lost["recursion"] == accounting.lost_total
    assert accounting.balanced, str(accounting)


# ---- counts -------------------------------------------------------------------------------------------------


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


# ---- who ----------------------------------------------------------------------------------------------------


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


THREADS_END = """
import threading, time
for _ in range(40):
    pid = os.fork()
    if pid == 0:
        for _ in range(8): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        os._exit(4)
    os.waitpid(pid, 0)
"""


def test_threads_that_end_together_are_one_exit() -> None:
    """40 processes of nine threads end as one each, on all CPUs at once."""
    rows, last, _ = records(THREADS_END)

    ends = [row["exit"] for row in rows if row["event"] == "exit"]
    found = {"fork": sum(row["event"] == "fork" for row in rows), "4": ends.count("4"), "0": ends.count("0")}
    assert_told({"fork": 40, "4": 40, "0": 1}, found, last.accounting)
    assert len(ends) == found["4"] + found["0"]


FIRST_THREAD_ENDS_FIRST = """
import ctypes, threading, time
libc = ctypes.CDLL(None)
pid = os.fork()
if pid == 0:
    def last():
        time.sleep(0.1)
        libc.syscall(60 if os.uname().machine == "x86_64" else 93, 6)
    threading.Thread(target=last).start()
    libc.syscall(60 if os.uname().machine == "x86_64" else 93, 8)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
"""


def test_the_exit_code_is_what_the_parent_learns() -> None:
    """Where threads end one by one, with codes of their own: the kernel decides (since 5.17 the last one's holds)."""
    with child(FIRST_THREAD_ENDS_FIRST) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "lifecycle", selection=selection) as run:
            told = int(done(started))
            run.stop()
            rows = [row for batch in rest_of(run) for row in batch.rows()]

    (end,) = (row for row in rows if row["event"] == "exit" and row["pid"] != started.pid)
    assert told in (6, 8)
    assert told == end["exit_code"]


def test_a_process_that_is_killed_has_the_signal() -> None:
    """SIGKILL and a real-time signal by their names, without an exit code."""
    code = (
        "import signal, time\n"
        "for number in (signal.SIGKILL, signal.SIGRTMIN + 3):\n"
        "    pid = os.fork()\n"
        "    if pid == 0: time.sleep(60)\n"
        "    os.kill(pid, number)\n"
        "    os.waitpid(pid, 0)"
    )
    rows, _, pid = records(code)

    ends = [row for row in rows if row["event"] == "exit" and row["pid"] != pid]
    assert ["SIGKILL", "SIGRTMIN+3"] == [row["exit_signal"] for row in ends]
    assert [None, None] == [row["exit_code"] for row in ends]


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


# ---- whose --------------------------------------------------------------------------------------------------


def test_what_sonde_starts_itself_is_filtered() -> None:
    """A fork is its parent's doing: sonde's own are no records, unless they are asked for."""
    with Run(PROCESSES, "lifecycle") as run:
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        os.waitpid(pid, 0)
        run.stop()
        batches = rest_of(run)
    with Run(PROCESSES, "lifecycle", selection=Selection(own=True)) as run:
        own = os.fork()
        if own == 0:
            os._exit(0)
        os.waitpid(own, 0)
        run.stop()
        with_own = [row for batch in rest_of(run) for row in batch.rows()]

    rows = [row for batch in batches for row in batch.rows()]
    assert [] == [row["pid"] for row in rows if row["ppid"] == os.getpid() and row["event"] == "fork"]
    assert batches[-1].accounting.filtered >= 1
    assert batches[-1].accounting.balanced
    assert ["fork", "exit"] == [row["event"] for row in with_own if row["pid"] == own]


NAMESPACES = """
import json, os, subprocess, sys
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run
with Run(probe("processes"), "lifecycle", selection=Selection(own=True)) as run:
    children = [os.posix_spawn("/bin/true", ["true"], {}) for _ in range(7)]
    for child in children: os.waitpid(child, 0)
    run.stop()
    rows = list(run.read().rows())
    balanced = run.read().accounting.balanced
print(json.dumps({"own": os.getpid(), "children": children, "balanced": balanced,
                  "rows": [[row["event"], row["pid"], row["ppid"]] for row in rows]}))
"""


def test_pids_are_those_of_sondes_own_namespace() -> None:
    """In a pid namespace processes and parents have their numbers there; what is outside is filtered."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", NAMESPACES]
    told = json.loads(subprocess.run(unshare, check=True, capture_output=True, text=True).stdout)

    assert told["own"] < 10
    expected = [[event, pid, told["own"]] for pid in told["children"] for event in ("fork", "exec", "exit")]
    assert sorted(expected) == sorted(told["rows"])
    assert told["balanced"]


# ---- cgroups ------------------------------------------------------------------------------------------------


def cgroup2() -> Path | None:
    """Find where cgroup v2 is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


@pytest.fixture
def cgroup() -> Iterator[Path]:
    """A cgroup of its own below the root of version 2."""
    root = cgroup2()
    if root is None:
        pytest.skip("cgroup v2 is not mounted")
    path = root / f"sonde-test-{os.getpid()}"
    path.mkdir()
    yield path
    path.rmdir()


def test_a_cgroup_that_is_gone_is_known(cgroup: Path) -> None:
    """One that is made, used for a moment and removed has its path in the records of what ran there."""
    code = (
        "os.mkdir(sys.argv[1])\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    open(sys.argv[1] + '/cgroup.procs', 'w').write('0')\n"
        "    os.execv('/bin/true', ['true'])\n"
        "os.waitpid(pid, 0)\n"
        "for _ in range(1000):\n"
        "    try: os.rmdir(sys.argv[1]); break\n"
        "    except OSError: pass"
    )
    gone = cgroup / ("docker-" + "5e" * 32 + ".scope")
    rows, last, _ = records(code, str(gone), values={"cgroups": True})

    assert not gone.exists()
    (made,) = (row for row in rows if row["event"] == "cgroup" and row["text"].startswith(f"/{cgroup.name}/"))
    assert f"/{cgroup.name}/{gone.name}" == made["text"] == made["cgroup"]
    (execute,) = (row for row in rows if row["event"] == "exec")
    (move,) = (row for row in rows if row["event"] == "move")
    assert made["cgroup_id"] == execute["cgroup_id"] == move["cgroup_id"]
    assert made["text"] == execute["cgroup"]
    assert "5e" * 6 == execute["place"]
    assert execute["pid"] == move["pid"]
    assert last.accounting.balanced, str(last.accounting)


def test_ends_are_what_the_parent_was_told() -> None:
    """What the table says of ends equals what waitpid told, over many kinds of end."""
    code = (
        "import signal, time, json\n"
        "seen = {}\n"
        "for number in (0, 1, 2, 77, 255, -signal.SIGTERM, -signal.SIGUSR1):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        if number >= 0: os._exit(number)\n"
        "        os.kill(os.getpid(), -number)\n"
        "    _, status = os.waitpid(pid, 0)\n"
        "    key = str(os.waitstatus_to_exitcode(status))\n"
        "    seen[key] = seen.get(key, 0) + 1\n"
        "print(json.dumps(seen))"
    )
    with child(code) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "events", selection=selection) as run:
            told = json.loads(done(started))
            run.stop()
            batch = run.read()

    told["0"] += 1  # the child itself
    found: dict[str, int] = {}
    for row in batch.rows():
        if row["exits"]:
            ended = (
                row["exit_code"] if row["exit_signal"] is None else -int(signal.Signals[row["exit_signal"]])
            )
            found[str(ended)] = found.get(str(ended), 0) + row["exits"]
    assert told == found


def test_rows_of_cgroups_that_are_gone_leave_the_kernel_and_stay_counted(cgroup: Path) -> None:
    """With a small map and many short-lived cgroups, every one of them is still a row, and the map has room."""
    code = (
        "for number in range(40):\n"
        "    path = f'{sys.argv[1]}/{number}'\n"
        "    os.mkdir(path)\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        open(path + '/cgroup.procs', 'w').write('0')\n"
        "        os._exit(5)\n"
        "    os.waitpid(pid, 0)\n"
        "    for _ in range(100_000):\n"
        "        try: os.rmdir(path); break\n"
        "        except OSError: pass\n"
        "    print(flush=True); sys.stdin.readline()"
    )
    with child(code, str(cgroup)) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(PROCESSES, "events", selection=selection, max_entries=16) as run:
            assert started.stdin is not None
            assert started.stdout is not None
            for _ in range(41):
                started.stdin.write("\n")
                started.stdin.flush()
                if started.stdout.readline():
                    run.read()
            started.communicate(timeout=60)
            in_kernel = len(run.loaded.maps["events"])  # type: ignore[arg-type]
            run.stop()
            batch = run.read()

    ends = [row for row in batch.rows() if row["exit"] == "5" and not row["is_other"]]
    assert 40 == len({row["cgroup_id"] for row in ends}) == sum(row["exits"] for row in ends)
    assert in_kernel <= 16
    assert batch.accounting.balanced, str(batch.accounting)
