"""Stacks of real processes get their names: short ones, those that have ended, in other mount namespaces, in the kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from kernel.compiled import program_of
from sonde.probe import Selection
from sonde.probes.cpu.probe import PROBE
from sonde.records.frames import KERNEL, MARK, NATIVE, Frame, frames_of
from sonde.run import Run

PROGRAM = program_of("symbols/named_work.c")
FREQUENCY = {"frequency": 999}
SHORT = 53
PATIENCE_S = 100


@contextmanager
def profile(*, pid: int = 0) -> Iterator[Run]:
    """What this process starts, or another process."""
    selection = Selection(pid=pid) if pid else Selection(pid=os.getpid(), children=True)
    with Run(PROBE, selection=selection, values=FREQUENCY) as run:
        yield run


def rows_of(run: Run, *pids: int) -> list[dict[str, Any]]:
    return [row for row in run.read().rows() if not pids or row["pid"] in pids]


def leaves(rows: list[dict[str, Any]]) -> Counter[str]:
    """Count samples by the innermost frame of user space."""
    found: Counter[str] = Counter()
    for row in rows:
        user = [each for each in frames_of(row) if each.kind not in (KERNEL, MARK)]
        if user:
            found[user[-1].name] += row["count"]
    return found


def frames_in(rows: list[Mapping[str, Any]] | list[dict[str, Any]]) -> list[Frame]:
    return [frame for row in rows for frame in frames_of(row)]


def test_processes_that_live_for_a_moment_are_named() -> None:
    """Each takes 20 ms of CPU, and has ended when anybody looks at it; of none a frame is unknown."""
    with profile() as run:
        pids = []
        for _ in range(SHORT):
            child = subprocess.Popen([PROGRAM, "20"])
            child.wait()
            pids.append(child.pid)
        run.stop()
        rows = rows_of(run, *pids)
    assert {row["pid"] for row in rows} == set(pids)
    named = {row["pid"] for row in rows if any(each.name == "spin_named" for each in frames_of(row))}
    assert named == set(pids)
    assert [each for each in frames_in(rows) if each.name == "[unknown]"] == []
    (spin, *_) = [each for each in frames_in(rows) if each.name == "spin_named"]
    assert (spin.kind, spin.module) == (NATIVE, str(PROGRAM))


def test_what_ended_before_its_program_was_deleted_is_named(tmp_path: Path) -> None:
    program = tmp_path / "passing"
    program.write_bytes(PROGRAM.read_bytes())
    program.chmod(0o755)
    with profile() as run:
        child = subprocess.Popen([program, "100"])
        child.wait()
        wait_until_followed(run, child.pid)
        program.unlink()
        run.stop()
        assert leaves(rows_of(run, child.pid))["spin_named"] > 50


def wait_until_followed(run: Run, pid: int) -> None:
    """Wait until the run's thread has seen that a process began; what it has then opened, it has."""
    assert run._naming is not None
    deadline = time.monotonic() + PATIENCE_S
    while len(run._naming.spaces.lineage(pid)) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_opened(run: Run, path: str) -> None:
    """Wait until the run's thread has seen that a file was mapped, and has it open."""
    assert run._naming is not None
    deadline = time.monotonic() + PATIENCE_S
    spaces = run._naming.spaces
    while True:
        with spaces._lock:
            if any(each.path == path for each in spaces._known):
                return
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_until_worked(pid: int, seconds: float) -> None:
    """Wait until a process has used so much CPU time."""
    ticks = seconds * os.sysconf("SC_CLK_TCK")
    deadline = time.monotonic() + PATIENCE_S
    while int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11]) < ticks:
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("is_alive", [True, False], ids=["alive", "ended"])
def test_a_program_in_another_mount_namespace_is_named(tmp_path: Path, *, is_alive: bool) -> None:
    """Its file lies on a tmpfs that nobody else has mounted, and that is gone with it."""
    place = tmp_path / "private"
    place.mkdir()
    script = f"mount -t tmpfs tmpfs {place} && cp {PROGRAM} {place}/hidden && exec {place}/hidden 200000"
    with profile() as run:
        # Now all that follows mappings is imported and awake.
        run.read()
        child = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", script])
        try:
            if is_alive:
                rows = read_until(run, child.pid, "spin_named")
            else:
                wait_until_opened(run, f"{place}/hidden")
                wait_until_worked(child.pid, 0.3)
                child.kill()
                child.wait()
                run.stop()
                rows = rows_of(run, child.pid)
        finally:
            child.kill()
            child.wait()
    assert not (place / "hidden").exists()
    found = [each for each in frames_in(rows) if each.name == "spin_named"]
    assert found
    assert {each.module for each in found} == {f"{place}/hidden"}


def test_a_program_in_a_container_s_overlay_is_named(tmp_path: Path) -> None:
    """An overlay has another device than what it lies over, and containers' roots are such."""
    folders = " ".join(f"{tmp_path}/{name}" for name in ("lower", "upper", "work", "merged"))
    options = f"lowerdir={tmp_path}/lower,upperdir={tmp_path}/upper,workdir={tmp_path}/work"
    script = f"""
        mount -t tmpfs tmpfs {tmp_path} && mkdir {folders} && cp {PROGRAM} {tmp_path}/lower/inside &&
        mount -t overlay overlay -o {options} {tmp_path}/merged && exec {tmp_path}/merged/inside 200000
    """
    with profile() as run:
        child = subprocess.Popen(["unshare", "-m", "--propagation", "private", "sh", "-c", script])
        try:
            rows = read_until(run, child.pid, "spin_named")
        finally:
            child.kill()
            child.wait()
    assert "spin_named" in {each.name for each in frames_in(rows)}


def read_until(run: Run, pid: int, name: str) -> list[dict[str, Any]]:
    """Read until a process has a frame of that name, for so long at most."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        rows = rows_of(run, pid)
        if any(each.name == name for each in frames_in(rows)) or time.monotonic() > deadline:
            return rows
        time.sleep(0.1)


def test_a_process_that_was_there_before_is_named() -> None:
    child = subprocess.Popen([PROGRAM, "200000"])
    try:
        with profile(pid=child.pid) as run:
            assert leaves(read_until(run, child.pid, "spin_named"))["spin_named"] > 0
    finally:
        child.kill()
        child.wait()


def test_a_process_whose_first_thread_has_ended_is_named() -> None:
    """/proc tells of a process what it tells of that thread, which has no memory any more."""
    child = subprocess.Popen([PROGRAM, "200000", "thread"])
    try:
        while Path(f"/proc/{child.pid}/stat").read_text().rpartition(") ")[2][0] != "Z":
            time.sleep(0.001)
        with profile(pid=child.pid) as run:
            assert leaves(read_until(run, child.pid, "spin_named"))["spin_named"] > 0
    finally:
        child.kill()
        child.wait()


def profiled(*command: str) -> list[dict[str, Any]]:
    """Run a program from its beginning to its end, and give its rows."""
    with profile() as run:
        child = subprocess.Popen(command)
        child.wait()
        run.stop()
        return rows_of(run, child.pid)


def test_the_vdso_is_named() -> None:
    rows = profiled(str(PROGRAM), "300", "vdso")
    vdso = {each.name for each in frames_in(rows) if each.module == "[vdso]"}
    if not vdso:
        source = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource").read_text().strip()
        assert source not in ("tsc", "kvm-clock"), "this clock is read in the vDSO"
        pytest.skip(f"the clock {source} is read by the kernel: the vDSO calls it")
    assert any("clock_gettime" in name for name in vdso)


def test_a_stack_that_leads_in_circles_is_broken_off_and_not_too_deep() -> None:
    """The kernel takes as many frames as there may be; those behind the first that is no code are none."""
    rows = profiled(str(program_of("symbols/circling.c")), "0.3")
    names = [[each.name for each in frames_of(row) if each.kind != KERNEL] for row in rows]
    circling = [each for each in names if "circle" in each]
    assert circling
    assert {tuple(each[: each.index("circle")]) for each in circling} == {("[broken off]", "main")}


def assert_each_has_its_share(rows: list[dict[str, Any]], function: str, copies: list[Path]) -> None:
    """Each copy of a program has samples of the function, and none has more than twice as many as another."""
    samples = Counter[str]()
    for row in rows:
        samples.update({each.module: row["count"] for each in frames_of(row) if each.name == function})
    assert set(samples) == {str(copy) for copy in copies}
    assert min(samples.values()) > max(samples.values()) / 2


def test_code_that_came_in_another_s_place_has_its_own_names(tmp_path: Path) -> None:
    """As a library that is loaded where another was: both have the same addresses, and each its samples."""
    program = program_of("symbols/replacing.c")
    copies = [tmp_path / "first", tmp_path / "second", tmp_path / "third"]
    for copy in copies:
        copy.write_bytes(program.read_bytes())
    command = [program, "200", *copies]
    with profile() as run, subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        for copy in copies:
            if copy != copies[0]:
                print(file=child.stdin, flush=True)
            assert child.stdout.readline() == "\n"
            run.read()
        child.wait()
        run.stop()
        rows = rows_of(run, child.pid)
    assert_each_has_its_share(rows, "spin", copies)


def test_a_program_that_a_process_runs_later_has_its_own_names(tmp_path: Path) -> None:
    """As a service that begins anew under its own name: without PIE, or as here, both have the same addresses."""
    copies = [tmp_path / "first" / "same", tmp_path / "second" / "same"]
    for copy in copies:
        copy.parent.mkdir()
        copy.write_bytes(PROGRAM.read_bytes())
        copy.chmod(0o755)
    with profile() as run, subprocess.Popen(["setarch", "-R", copies[0], "300", "user", copies[1]]) as child:
        while os.readlink(f"/proc/{child.pid}/exe") != str(copies[1]):
            time.sleep(0.001)
        run.read()
        child.wait()
        run.stop()
        rows = rows_of(run, child.pid)
    assert_each_has_its_share(rows, "spin_named", copies)


def test_the_kernel_is_named_behind_who_called_it() -> None:
    rows = profiled(str(PROGRAM), "300", "kernel")
    inside = [frames_of(row) for row in rows if KERNEL in row["frame_kinds"]]
    kernel = Counter(each.name for frames in inside for each in frames if each.kind == KERNEL)
    assert {each.module for frames in inside for each in frames if each.kind == KERNEL} >= {"[kernel]"}
    assert any("read" in name for name in kernel), kernel
    for frames in inside:
        kinds = "".join(each.kind for each in frames)
        assert KERNEL not in kinds.rstrip(KERNEL)


def test_python_s_own_functions_are_named(tmp_path: Path) -> None:
    """Under -X perf Python 3.12 and later write what they are called; it needs frame pointers to come far."""
    code = "def turn_round():\n    return sum(number * number for number in range(3_000_000))\nturn_round()\n"
    script = tmp_path / "work.py"
    script.write_text(code)
    if sys.version_info < (3, 12):
        pytest.skip(f"-X perf is Python 3.12's, this is {sys.version.split()[0]}")
    rows = profiled(sys.executable, "-X", "perf", str(script))
    assert "turn_round (work.py)" in {each.name for each in frames_in(rows)}


def test_a_run_leaves_nothing_open() -> None:
    before = set(os.listdir("/proc/self/fd"))
    with profile() as run:
        subprocess.run([PROGRAM, "20"], check=True)
        run.read()
    # The list of the kernel's symbols is opened once for all.
    left = {
        os.readlink(f"/proc/self/fd/{fd}")
        for fd in set(os.listdir("/proc/self/fd")) - before
        if os.path.lexists(f"/proc/self/fd/{fd}")
    }
    assert left <= {"/proc/kallsyms"}
