"""The probe ``syscalls`` on the real kernel: every call is counted once, under its own name."""

from __future__ import annotations

import os
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sonde._libbpf import ffi, lib
from sonde.bpf import RunStatistics
from sonde.errors import KnobError
from sonde.probe import Selection
from sonde.probes.syscalls.child import SYSCALLS, TABLES, WORKLOAD, assert_counted, counts, measured
from sonde.probes.syscalls.workload import Workload
from sonde.run import Run

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"needs root, runs as user {os.geteuid()}: use sudo"),
]


def test_a_prime_count_from_eight_threads_is_exact_with_latency() -> None:
    """8 threads × 10,007 calls of three kinds give that number, per call and errno, and the equation holds."""
    batch, _ = measured(WORKLOAD, "8", "10007")

    assert_counted(Workload(8, 10007).expected, batch)
    assert batch.accounting.final
    assert batch.accounting.balanced, str(batch.accounting)
    assert batch.accounting.lost["recursion"] == batch.accounting.lost_total


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
    folder, summary = tmp_path / "folder", tmp_path / "strace"
    folder.mkdir()
    for number in range(101):
        (folder / f"{number}").mkdir()
    program = [find, str(folder), "-maxdepth", "1", "-name", "no such name"]
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
    # What the kernel skipped was seen by nobody, but is known.
    seen -= after["lost_recursion"] - before[0]["lost_recursion"]
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
    # The kernel frees them when all CPUs have been elsewhere, which takes its time where there is much to do.
    for _ in range(3000):
        left = program_ids() & ids
        if not left:
            break
        time.sleep(0.02)
    assert set() == left
