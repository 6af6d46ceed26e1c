"""The probe ``syscalls`` on the real kernel: every call is counted once, under its own name."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sonde._libbpf import ffi, lib
from sonde.bpf import RunStatistics
from sonde.errors import KnobError
from sonde.probe import Selection
from sonde.probes import probe
from sonde.probes.syscalls.workload import Workload
from sonde.records.model import RecordBatch
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]

TABLES = ("latency", "counts")
SYSCALLS = probe("syscalls")


class Child:
    """A process that waits for a line on stdin before it does what it is for."""

    def __init__(self, code: str, *arguments: str, program: str = sys.executable) -> None:
        prelude = "import os, sys; sys.stdin.readline()\n"
        self.process = subprocess.Popen(
            [program, "-c", prelude + code, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self.process.pid

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def finish(self) -> str:
        """Wait for its end; what it printed."""
        out, _ = self.process.communicate(timeout=60)
        return out

    def end(self) -> None:
        """Kill it, if it is still there."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate(timeout=60)


@contextmanager
def child(code: str, *arguments: str) -> Iterator[Child]:
    started = Child(code, *arguments)
    try:
        yield started
    finally:
        started.end()


def measured(
    code: str, *arguments: str, table: str = "latency", children: bool = False, **options: Any
) -> tuple[RecordBatch, Child]:
    """Run Python code in a child process and give the table's final batch of it."""
    with child(code, *arguments) as started:
        selection = Selection(pid=started.pid, children=children)
        with Run(SYSCALLS, table, selection=selection, **options) as run:
            started.go()
            started.finish()
            run.stop()
            return run.read(), started


def counts(batch: RecordBatch, pid: int | None = None) -> dict[tuple[str, str | None], int]:
    """Add up the rows by (system call, errno)."""
    found: dict[tuple[str, str | None], int] = {}
    for row in batch.rows(("pid", "syscall", "error", "count")):
        if pid is None or row["pid"] == pid:
            key = (row["syscall"], row["error"])
            found[key] = found.get(key, 0) + row["count"]
    return found


def assert_counted(
    expected: Mapping[tuple[str, str | None], int], batch: RecordBatch, pid: int | None = None
) -> None:
    """Each of these calls is in its row, or among those that the kernel itself says it did not show to the program.

    It skips calls of other tasks while a program is preempted on their CPU (Linux 7.x), and counts them machine-wide.
    Where it never does, every count is exact.
    """
    found = counts(batch, pid)
    missing = {key: count - found.get(key, 0) for key, count in expected.items()}
    assert min(missing.values()) >= 0, missing
    assert sum(missing.values()) <= batch.accounting.lost["recursion"], missing


WORKLOAD = (
    "from sonde.probes.syscalls.workload import Workload\nWorkload(int(sys.argv[1]), int(sys.argv[2])).run()"
)


def test_a_prime_count_from_eight_threads_is_exact_with_latency() -> None:
    """8 threads × 10,007 calls of three kinds give that number, per call and errno, and the equation holds."""
    batch, _ = measured(WORKLOAD, "8", "10007")

    assert_counted(Workload(8, 10007).expected, batch)
    assert batch.accounting.final
    assert batch.accounting.balanced, str(batch.accounting)
    assert batch.accounting.lost["recursion"] == batch.accounting.lost_total


def test_a_prime_count_from_eight_threads_is_exact_counted_at_entry() -> None:
    """The same, count-only: without errnos and durations."""
    batch, _ = measured(WORKLOAD, "8", "10007", table="counts")

    assert_counted({("getppid", None): 8 * 10007}, batch)
    assert 8 * 10007 - batch.accounting.lost["recursion"] <= counts(batch)["close", None]
    assert batch.accounting.balanced, str(batch.accounting)
    assert {None} == {row["duration_sum_ns"] for row in batch.rows()}
    assert {None} == {row["error"] for row in batch.rows()}


def test_durations_agree_with_themselves() -> None:
    """Every timed call is in a bucket; quantiles lie below the maximum and the sum is between its bounds."""
    batch, _ = measured("import time\nfor _ in range(7): time.sleep(0.011)", "")

    (row,) = (row for row in batch.rows() if row["syscall"] == "clock_nanosleep")
    assert 7 == row["count"]
    assert 7 * 11_000_000 <= row["duration_sum_ns"] <= 7 * row["duration_max_ns"]
    assert 11_000_000 / 2**0.5 <= row["duration_p50_ns"] <= row["duration_p99_ns"] <= row["duration_max_ns"]


def spawn_stopped(command: list[str]) -> int:
    """Start a program stopped before its execve, so that its calls are measured from the first on."""
    keep = [ffi.new("char[]", word.encode()) for word in command]
    environment = ffi.new("char[]", b"LC_ALL=C")
    pid = int(lib.sonde_spawn_stopped(command[0].encode(), [*keep, ffi.NULL], [environment, ffi.NULL]))
    os.waitpid(pid, os.WUNTRACED)
    return pid


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("table", TABLES)
def test_counts_agree_with_strace(tmp_path: Path, table: str) -> None:
    """On a program that always makes the same calls, every count is that of `strace -c`, from execve on."""
    find = shutil.which("find")
    assert find is not None
    program = [find, "/usr/share/doc", "-maxdepth", "1", "-name", "no such name"]
    summary = tmp_path / "strace"
    strace = ["strace", "-c", "-f", "-U", "calls,name", "-o", str(summary), *program]
    subprocess.run(strace, check=True, stdout=subprocess.DEVNULL, env={"LC_ALL": "C"})
    lines = [line.split() for line in summary.read_text().splitlines()]
    told = {words[1]: int(words[0]) for words in lines if len(words) == 2 and words[0].isdigit()}
    del told["total"]

    pid = spawn_stopped(program)
    with Run(SYSCALLS, table, selection=Selection(pid=pid)) as run:
        os.kill(pid, signal.SIGCONT)
        os.waitpid(pid, 0)
        run.stop()
        found: dict[str, int] = {}
        for (name, _), count in counts(run.read()).items():
            found[name] = found.get(name, 0) + count

    # strace counts a call when it returns, which exit_group does not.
    assert 1 == found.pop("exit_group")
    assert told == found


def test_a_call_that_is_still_running_is_in_flight() -> None:
    """A process blocked in read is one call in flight, outside of lost, and the equation holds without it."""
    code = "r, w = os.pipe(); print('ready', flush=True); os.read(r, 1)"
    with child(code) as started, Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
        started.go()
        assert started.process.stdout is not None
        assert "ready\n" == started.process.stdout.readline()
        wait_until_blocked(started.pid)
        run.stop()
        accounting = run.read().accounting

    assert 1 == accounting.in_flight
    assert accounting.balanced, str(accounting)
    assert 0 == accounting.lost_total


def wait_until_blocked(pid: int) -> None:
    """Wait until a process sleeps."""
    for _ in range(1000):
        if " S " in Path(f"/proc/{pid}/stat").read_text():
            return
        time.sleep(0.005)
    raise AssertionError(f"process {pid} does not sleep")


def test_a_thread_that_dies_inside_a_call_leaves_nothing_in_flight() -> None:
    """exit_group ends a thread blocked in read; its call ends as the kernel's own result says."""
    code = (
        "import threading, time\n"
        "r, w = os.pipe()\n"
        "threading.Thread(target=os.read, args=(r, 1), daemon=True).start()\n"
        "time.sleep(0.1)\n"
        "os._exit(0)"
    )
    batch, _ = measured(code)

    found = counts(batch)
    assert 1 == found["exit_group", None]
    assert 1 == found.get(("read", "ERESTARTSYS"), 0)
    assert 0 == batch.accounting.in_flight
    assert batch.accounting.balanced, str(batch.accounting)


def test_a_call_begun_before_is_counted_without_duration() -> None:
    """A read that began before attach and returns after it is untimed."""
    with child("print(sys.stdin.readline(), flush=True)") as started:
        started.go()
        wait_until_blocked(started.pid)
        with Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
            started.go()
            started.finish()
            run.stop()
            batch = run.read()

    reads = [row for row in batch.rows() if row["syscall"] == "read"]
    assert 1 <= sum(row["untimed"] for row in reads)
    assert batch.accounting.balanced, str(batch.accounting)


FORKS = "for _ in range(101):\n    pid = os.fork()\n    if pid == 0: os._exit(0)\n    os.waitpid(pid, 0)"


def test_a_childs_return_from_fork_is_no_call() -> None:
    """101 forks are 101 calls, though 202 processes return from them; children are counted as their own."""
    batch, _ = measured(FORKS, children=True)

    by_name: dict[str, int] = {}
    for row in batch.rows():
        if row["syscall"] in ("clone", "clone3", "fork", "vfork"):
            by_name[row["syscall"]] = by_name.get(row["syscall"], 0) + row["count"]
    assert 101 == sum(by_name.values())
    pids = {row["pid"] for row in batch.rows() if row["syscall"] == "exit_group"}
    assert 102 == len(pids)
    assert batch.accounting.balanced, str(batch.accounting)


@pytest.mark.parametrize("table", TABLES)
def test_what_is_seen_is_what_the_kernel_ran(table: str) -> None:
    """Machine-wide, `seen` equals the kernel's own count of the deciding program's runs."""
    with Run(SYSCALLS, table) as run, RunStatistics():
        deciding = run.loaded.programs["count_enter" if table == "counts" else "latency_exit"]
        run.loaded.variables["active"].value = 0
        subprocess.run(["true"], check=True)
        before = run._counters(), deciding.run_count
        run.loaded.variables["active"].value = 1
        workload = [
            sys.executable,
            "-m",
            "sonde.probes.syscalls.workload",
            "--threads",
            "2",
            "--calls",
            "1009",
        ]
        subprocess.run(workload, check=True, stdout=subprocess.DEVNULL)
        run.loaded.variables["active"].value = 0
        time.sleep(0.05)
        after = run._counters()
        ran = deciding.run_count - before[1]
        run.stop()
        batch = run.read()

    seen = after["seen"] - before[0]["seen"]
    seen -= after.get("counted_at_entry", 0) - before[0].get("counted_at_entry", 0)
    seen += after.get("child_returns", 0) - before[0].get("child_returns", 0)
    # The program runs, too, while `active` is zero, and counts nothing then: a bound from above, and a close one.
    assert seen <= ran
    assert seen > 3 * 2 * 1009
    assert batch.accounting.balanced, str(batch.accounting)


def elf32(calls: int) -> bytes:
    """A static 32-bit program: getpid ``calls`` times by int 0x80, then exit(0)."""
    code = (
        b"\xbe"
        + struct.pack("<I", calls)  # mov esi, calls
        + b"\xb8\x14\x00\x00\x00\xcd\x80"  # mov eax, 20 (getpid); int 0x80
        + b"\x4e\x75\xf6"  # dec esi; jnz back to the mov
        + b"\xb8\x01\x00\x00\x00\x31\xdb\xcd\x80"  # mov eax, 1 (exit); xor ebx, ebx; int 0x80
    )
    base, header = 0x08048000, 52 + 32
    size = header + len(code)
    return (
        struct.pack(
            "<16sHHIIIIIHHHHHH", b"\x7fELF\x01\x01\x01", 2, 3, 1, base + header, 52, 0, 0, 52, 32, 1, 0, 0, 0
        )
        + struct.pack("<IIIIIIII", 1, 0, base, base, size, size, 5, 0x1000)
        + code
    )


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="int 0x80 is of x86")
@pytest.mark.parametrize("table", TABLES)
def test_calls_of_a_32_bit_program_have_their_own_names(tmp_path: Path, table: str) -> None:
    """Number 20 is getpid there and writev here; 32-bit calls go by the 32-bit table."""
    program = tmp_path / "calls32"
    program.write_bytes(elf32(4013))
    program.chmod(0o755)
    if subprocess.run([program], check=False).returncode != 0:
        pytest.skip("this kernel does not run 32-bit programs (CONFIG_IA32_EMULATION)")

    batch, _ = measured(f"os.execv({str(program)!r}, ['calls32'])", table=table)

    found = counts(batch)
    assert 4013 == found["getpid", None]
    assert 1 == found["exit", None]
    assert batch.accounting.balanced, str(batch.accounting)


@pytest.mark.parametrize("table", TABLES)
def test_what_finds_the_map_full_is_in_other(table: str) -> None:
    """With room for 16 rows the rest is one row named other, nothing is lost, and the sum is the same."""
    code = (
        "import ctypes; libc = ctypes.CDLL(None)\n"
        "for number in range(900, 1000):\n    for _ in range(7): libc.syscall(number)"
    )
    batch, _ = measured(code, table=table, max_entries=16)

    (other,) = (row for row in batch.rows() if row["is_other"])
    assert other["pid"] is None
    assert "other" == other["comm"] == other["syscall"]
    assert 84 * 7 <= other["count"]
    assert len(batch) <= 17
    assert batch.accounting.balanced, str(batch.accounting)
    assert 0 == batch.accounting.lost_total


def test_an_unknown_number_has_a_name_of_its_own() -> None:
    """syscall_N, with ENOSYS."""
    code = "import ctypes; libc = ctypes.CDLL(None)\nfor _ in range(13): libc.syscall(1999)"
    batch, _ = measured(code)

    assert 13 == counts(batch)["syscall_1999", "ENOSYS"]


def test_the_kernels_internal_results_have_names() -> None:
    """A poll that a signal interrupts ends in ERESTART_RESTARTBLOCK or ERESTARTNOHAND inside the kernel."""
    code = (
        "import signal, time, select\n"
        "signal.signal(signal.SIGALRM, lambda *a: None)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        "time.sleep(0.2)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
        "select.select([], [], [], 0.2)"
    )
    batch, _ = measured(code)

    found = counts(batch)
    # Python sleeps until a point in time, which is restarted by hand; a relative sleep would be by the kernel.
    assert 1 == found["clock_nanosleep", "ERESTARTNOHAND"]
    assert 1 == sum(found.get((name, "ERESTARTNOHAND"), 0) for name in ("select", "pselect6"))
    assert all(error is None for name, error in found if name == "rt_sigreturn")
    assert 2 == found["rt_sigreturn", None]


def test_sampled_calls_are_accounted_for() -> None:
    """One in ten is counted, the others are sampled out, and the batch says what a count stands for."""
    batch, _ = measured(WORKLOAD, "2", "10007", values={"sample": 10})

    accounting = batch.accounting
    assert 10 == batch.scale
    assert accounting.balanced, str(accounting)
    kept = counts(batch)["getppid", None]
    # Binomial: five standard deviations of 20,014 draws at 1/10 are 212.
    assert abs(kept - 2001.4) < 250
    assert accounting.sampled_out > 8 * kept


def test_only_errors() -> None:
    """With errors set, calls that succeed are filtered."""
    batch, _ = measured(WORKLOAD, "3", "101", values={"errors": True})

    assert_counted({("close", "EBADF"): 303}, batch)
    assert all(error is not None for _, error in counts(batch))
    assert batch.accounting.filtered >= 606
    assert batch.accounting.balanced, str(batch.accounting)


def test_errors_cannot_be_told_at_entry() -> None:
    """Count-only and errors together are refused, with what to do."""
    with pytest.raises(KnobError, match="count-only"):
        Run(SYSCALLS, "counts", values={"errors": True}).start()


@pytest.mark.parametrize("table", TABLES)
def test_a_set_of_calls_by_name(table: str) -> None:
    """Only the calls of the set are rows; the others are filtered."""
    batch, _ = measured(WORKLOAD, "2", "1009", table=table, values={"syscall": ("getppid", "sched_yield")})

    expected: dict[tuple[str, str | None], int] = {("getppid", None): 2018, ("sched_yield", None): 2018}
    assert set(expected) == set(counts(batch))
    assert_counted(expected, batch)
    assert batch.accounting.balanced, str(batch.accounting)


def test_an_unknown_call_is_refused_with_the_nearest_names() -> None:
    """opennat is no system call; openat is."""
    with pytest.raises(KnobError, match="openat"):
        Run(SYSCALLS, values={"syscall": ("opennat",)}).start()


def test_sondes_own_calls_are_filtered() -> None:
    """What this process does is no row, and is counted as filtered; with own it is a row."""
    with Run(SYSCALLS, "counts") as run:
        for _ in range(1009):
            os.getppid()
        run.stop()
        batch = run.read()
    with Run(SYSCALLS, "counts", selection=Selection(own=True)) as run:
        for _ in range(1009):
            os.getppid()
        run.stop()
        with_own = run.read()

    assert os.getpid() not in batch["pid"].tolist()
    assert 1009 <= batch.accounting.filtered
    assert_counted({("getppid", None): 1009}, with_own, os.getpid())


def test_by_name_of_the_process() -> None:
    """comm is the process's name; others are filtered."""
    code = "import ctypes; ctypes.CDLL(None).prctl(15, b'sonde-named')\nfor _ in range(211): os.getppid()"
    with child(code) as started, Run(SYSCALLS, "counts", selection=Selection(comm="sonde-named")) as run:
        started.go()
        started.finish()
        run.stop()
        batch = run.read()

    assert 211 == counts(batch)["getppid", None]
    assert {"sonde-named"} == set(batch["comm"].tolist())
    assert {started.pid} == set(batch["pid"].tolist())


def cgroup2() -> Path | None:
    """Find where cgroup v2 is mounted."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            return Path(before.split()[4])
    return None


@pytest.mark.skipif(cgroup2() is None, reason="cgroup v2 is not mounted")
def test_by_cgroup_and_all_below_it() -> None:
    """A process in a cgroup below the selected one counts; this test's other children do not."""
    root = cgroup2()
    assert root is not None
    above = root / f"sonde-test-{os.getpid()}"
    below = above / "inner"
    below.mkdir(parents=True)
    try:
        with (
            child("for _ in range(307): os.getppid()") as inside,
            child("for _ in range(307): os.getppid()") as outside,
        ):
            (below / "cgroup.procs").write_text(str(inside.pid))
            with Run(SYSCALLS, "counts", selection=Selection(cgroup=str(above))) as run:
                for started in (inside, outside):
                    started.go()
                    started.finish()
                run.stop()
                batch = run.read()
    finally:
        below.rmdir()
        above.rmdir()

    assert {inside.pid} == set(batch["pid"].tolist())
    assert 307 == counts(batch)["getppid", None]


NAMESPACES = """
import json, os, subprocess, sys
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run
child = subprocess.Popen([sys.executable, "-c", "import os, sys; sys.stdin.readline()\\nfor _ in range(401): os.getppid()"],
                         stdin=subprocess.PIPE)
with Run(probe("syscalls"), "counts") as run:
    for _ in range(83): os.getppid()
    child.communicate(b"\\n")
    run.stop()
    batch = run.read()
rows = [[row["pid"], row["syscall"], row["count"]] for row in batch.rows() if row["syscall"] == "getppid"]
print(json.dumps({"own": os.getpid(), "child": child.pid, "rows": rows, "balanced": batch.accounting.balanced}))
"""


def test_pids_are_those_of_sondes_own_namespace() -> None:
    """In a pid namespace sonde knows itself and its child by their numbers there; what is outside is filtered."""
    unshare = [
        "unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", NAMESPACES,
    ]  # fmt: skip
    told = json.loads(subprocess.run(unshare, check=True, capture_output=True, text=True).stdout)

    assert told["own"] < 10
    assert [[told["child"], "getppid", 401]] == told["rows"]
    assert told["balanced"]


REUSE = """
import json, os, sys
from sonde.probes import probe
from sonde.run import Run
def fork_as(pid, calls):
    with open("/proc/sys/kernel/ns_last_pid", "w") as file:
        file.write(str(pid - 1))
    child = os.fork()
    if child == 0:
        for _ in range(calls): os.getppid()
        os._exit(0)
    os.waitpid(child, 0)
    return child
with Run(probe("syscalls"), "latency") as run:
    pids = [fork_as(31337, 101), fork_as(31337, 103)]
    run.stop()
    rows = [[row["pid"], row["count"]] for row in run.read().rows() if row["syscall"] == "getppid"]
print(json.dumps({"pids": pids, "rows": sorted(rows)}))
"""


def test_a_reused_pid_is_another_process() -> None:
    """Two processes that had the same number one after the other are two rows."""
    unshare = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child", sys.executable, "-c", REUSE]
    ran = subprocess.run(unshare, check=False, capture_output=True, text=True)
    if "ns_last_pid" in ran.stderr and "Errno" in ran.stderr:
        pytest.skip(f"ns_last_pid cannot be written: {ran.stderr.splitlines()[-1]}")
    told = json.loads(ran.stdout)

    assert [31337, 31337] == told["pids"]
    assert [[31337, 101], [31337, 103]] == told["rows"]


def test_a_stream_has_each_call_with_arguments_and_result() -> None:
    """Every call of the child is a record: in order, with its arguments, its result and its errno."""
    code = "import ctypes; libc = ctypes.CDLL(None)\nfor n in range(1, 102): libc.syscall(3, -n)"
    with child(code) as started, Run(SYSCALLS, "calls", selection=Selection(pid=started.pid)) as run:
        batches = [run.read()]
        started.go()
        started.finish()
        run.stop()
        while len(batch := run.read()):
            batches.append(batch)
        accounting = run.read().accounting

    rows = [row for batch in batches for row in batch.rows()]
    closes = [row for row in rows if row["syscall"] == "close" and row["error"] == "EBADF"]
    assert [-n for n in range(1, 102)] == [ctypes.c_int64(row["args"][0]).value for row in closes]
    assert {-9} == {row["result"] for row in closes}
    assert all(row["pid"] == started.pid for row in rows)
    assert all(row["duration_ns"] is None or row["duration_ns"] > 0 for row in rows)
    assert accounting.balanced, str(accounting)
    assert len(rows) == accounting.delivered


def test_a_small_ring_under_a_storm_loses_and_says_so() -> None:
    """A ring of 4 KiB loses records; what was lost is counted exactly."""
    with (
        child(WORKLOAD, "4", "5003") as started,
        Run(SYSCALLS, "calls", selection=Selection(pid=started.pid), max_entries=4096) as run,
    ):
        # The child may still be on its way to the line that it waits for.
        delivered = len(run.read())
        started.go()
        started.finish()
        run.stop()
        while len(batch := run.read()):
            delivered += len(batch)
        accounting = run.read().accounting

    assert 0 < accounting.lost["ring_full"]
    assert 60_036 <= accounting.seen
    assert delivered == accounting.delivered
    assert accounting.balanced, str(accounting)


def test_a_stream_above_a_latency() -> None:
    """With a minimum latency only slow calls are records; the others are filtered."""
    code = "import time\nfor _ in range(5): time.sleep(0.03)"
    with child(code) as started:
        selection = Selection(pid=started.pid)
        with Run(SYSCALLS, "calls", selection=selection, values={"min_latency": 20_000_000}) as run:
            run.read()
            started.go()
            started.finish()
            run.stop()
            batch = run.read()

    assert 5 == batch["syscall"].tolist().count("clock_nanosleep")
    assert min(value for value in batch["duration_ns"].tolist() if value is not None) >= 20_000_000
    assert batch.accounting.balanced, str(batch.accounting)


def test_rows_of_ended_processes_leave_the_kernel_and_stay_counted() -> None:
    """With a small map and many short processes, ended ones are moved out: every one of them is still a row."""
    code = (
        "for _ in range(60):\n    pid = os.fork()\n"
        "    if pid == 0:\n        for _ in range(11): os.getppid()\n        os._exit(0)\n    os.waitpid(pid, 0)\n"
        "    print(flush=True); sys.stdin.readline()"
    )
    with child(code) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(SYSCALLS, "counts", selection=selection, max_entries=96) as run:
            started.go()
            assert started.process.stdout is not None
            for _ in range(60):
                started.process.stdout.readline()
                run.read()
                started.go()
            started.finish()
            run.stop()
            batch = run.read()

    children = [row for row in batch.rows() if row["syscall"] == "getppid" and not row["is_other"]]
    assert [11] * 60 == [row["count"] for row in children]
    assert batch.accounting.balanced, str(batch.accounting)


def test_reading_while_it_runs_loses_nothing() -> None:
    """A reader in a tight loop beside the workload does not disturb the counts."""
    with child(WORKLOAD, "4", "20011") as started, Run(SYSCALLS, selection=Selection(pid=started.pid)) as run:
        done = threading.Event()
        reads = []

        def read() -> None:
            while not done.is_set():
                reads.append(len(run.read()))

        reader = threading.Thread(target=read)
        reader.start()
        started.go()
        started.finish()
        done.set()
        reader.join()
        run.stop()
        batch = run.read()

    assert_counted(Workload(4, 20011).expected, batch)
    assert len(reads) > 1
    assert batch.accounting.balanced, str(batch.accounting)


def program_ids() -> set[int]:
    """Number the BPF programs of this machine."""
    found, number = set(), ffi.new("__u32 *", 0)
    while lib.bpf_prog_get_next_id(number[0], number) == 0:
        found.add(int(number[0]))
    return found


def test_a_killed_process_leaves_nothing_loaded() -> None:
    """After SIGKILL the programs are gone."""
    code = (
        "import sys, time\nfrom sonde.probes import probe\nfrom sonde.run import Run\n"
        "run = Run(probe('syscalls')); run.start()\n"
        "print(*(p.id for p in run.loaded.programs.values()), flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    ids = {int(word) for word in process.stdout.readline().split()}
    process.send_signal(signal.SIGKILL)
    process.communicate()

    assert ids
    for _ in range(200):
        left = program_ids() & ids
        if not left:
            break
        time.sleep(0.02)
    assert set() == left


OTHER_CLOCK = """
import subprocess, sys
from sonde.probe import Selection
from sonde.probes import probe
from sonde.run import Run
code = "import os, sys; sys.stdin.readline(); os.getppid(); os.getuid(); os.getgid(); os.getpgid(0); os.getsid(0); print(flush=True); sys.stdin.readline()"
child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
with Run(probe("syscalls"), "counts", selection=Selection(pid=child.pid), max_entries=8) as run:
    child.stdin.write(b"\\n")
    child.stdin.flush()
    child.stdout.readline()
    alive = len(run.read()), len(run.loaded.maps["counts"])
    child.communicate(b"\\n")
    run.read()
    ended = len(run.loaded.maps["counts"])
    run.stop()
    print(alive[0] - run.read()["is_other"].sum() <= alive[1], ended, run.read().accounting.balanced)
"""


def test_the_living_are_not_taken_for_ended_in_a_time_namespace() -> None:
    """Where /proc tells starts by another clock than the kernel's, rows leave the map when their process has ended."""
    unshare = ["unshare", "--time", "--boottime", "100000", "--fork", sys.executable, "-c", OTHER_CLOCK]
    ran = subprocess.run(unshare, check=False, capture_output=True, text=True)
    if "unshare failed" in ran.stderr:
        pytest.skip(f"no time namespaces here: {ran.stderr.strip()}")

    assert ["True", "0", "True"] == ran.stdout.split(), ran.stderr


def test_beyond_what_is_kept_rows_of_ended_processes_are_one_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """With room for 50 of them, the rows of 60 ended processes are added up into other, and nothing is missing."""
    monkeypatch.setattr("sonde.records.retirement.ROWS_KEPT_MAX", 50)
    code = (
        "for _ in range(60):\n    pid = os.fork()\n"
        "    if pid == 0:\n        for _ in range(11): os.getppid()\n        os._exit(0)\n    os.waitpid(pid, 0)\n"
        "    print(flush=True); sys.stdin.readline()"
    )
    with child(code) as started:
        selection = Selection(pid=started.pid, children=True)
        with Run(SYSCALLS, "latency", selection=selection, max_entries=96) as run:
            started.go()
            assert started.process.stdout is not None
            for _ in range(60):
                started.process.stdout.readline()
                run.read()
                started.go()
            started.finish()
            run.stop()
            batch = run.read()

    (other,) = (row for row in batch.rows() if row["is_other"])
    assert other["count"] > 0
    assert len(batch) < 160
    assert batch.accounting.balanced, str(batch.accounting)
