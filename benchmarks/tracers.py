"""The tools that are compared: how each is started, and how one knows that it has attached."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sonde._libbpf import ffi, lib
from sonde.bpf import ObjectSpec

SONDE = Path(sys.executable).with_name("sonde")
ATTACH_TIMEOUT_S = 30.0
SETTLE_S = 0.3


@dataclass(frozen=True)
class Tracer:
    """A tool under its name; ``start`` runs it for the time of a block; ``missing`` says why it cannot run."""

    name: str
    start: Callable[[], AbstractContextManager[None]]
    missing: str = ""


def program_ids() -> set[int]:
    """Number the BPF programs of this machine."""
    found, number = set(), ffi.new("__u32 *", 0)
    while lib.bpf_prog_get_next_id(number[0], number) == 0:
        found.add(int(number[0]))
    return found


def _wait_for_programs(before: set[int], process: subprocess.Popen[bytes]) -> None:
    """Wait until a tool has loaded programs and loads no more; the last ones attach within that time."""
    deadline, stable_since, last = time.monotonic() + ATTACH_TIMEOUT_S, time.monotonic(), before
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        now = program_ids()
        if now != last:
            last, stable_since = now, time.monotonic()
        if now - before and time.monotonic() - stable_since > SETTLE_S:
            return
        time.sleep(0.02)
    raise RuntimeError(f"{process.args!r} has loaded no program in {ATTACH_TIMEOUT_S} s")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(command: list[str]) -> Iterator[None]:
    """Run a peer, from when its programs are loaded to the end of the block."""
    before = program_ids()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_programs(before, process)
        yield
    finally:
        _end(process)


@contextmanager
def _sonde(*arguments: str) -> Iterator[None]:
    """Run sonde, from when it says that it has attached."""
    read, write = os.pipe()
    process = subprocess.Popen(
        [str(SONDE), *arguments, "--ready-fd", str(write)], pass_fds=[write], stderr=subprocess.DEVNULL
    )
    os.close(write)
    try:
        if not os.read(read, 1):
            raise RuntimeError(f"{process.args!r} did not attach")
        yield
    finally:
        os.close(read)
        _end(process)


def sonde_running(*arguments: str) -> AbstractContextManager[None]:
    """Run ``sonde top syscalls``."""
    return _sonde("top", "syscalls", "--format", "json", "-o", "/dev/null", *arguments)


def sonde_profiling(*arguments: str) -> AbstractContextManager[None]:
    """Run ``sonde profile``."""
    return _sonde("profile", *arguments)


@contextmanager
def floor(content: bytes, *programs: str) -> Iterator[None]:
    """Attach empty programs."""
    with ObjectSpec.open(content, name="floor") as spec:
        for name, program in spec.programs.items():
            program.autoload = name in programs
        with spec.load() as loaded:
            loaded.attach_all()
            yield


@contextmanager
def nothing() -> Iterator[None]:
    """Run without a tracer."""
    yield


def _peer(name: str, program: str, *command: str, package: str) -> Tracer:
    missing = "" if shutil.which(program) else f"{program} is not installed (Debian package {package})"
    return Tracer(name, lambda: running([*command]), missing)


def syscall_tracers(floor_object: bytes) -> list[Tracer]:
    """Everything that counts system calls by process, with the floors; the first is no tracer at all."""
    # A private mount of tracefs: bpftrace 0.17 looks for it at its place, where a machine may have none.
    mounted = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -t tracefs tracefs /sys/kernel/tracing; exec "$@"',
        "sh",
    ]
    script = "tracepoint:raw_syscalls:sys_enter { @[pid] = count(); }"
    return [
        Tracer("no tracer", nothing),
        Tracer("empty program, entry", lambda: floor(floor_object, "floor_enter")),
        Tracer("empty programs, entry and exit", lambda: floor(floor_object, "floor_enter", "floor_exit")),
        Tracer("sonde --count-only", lambda: sonde_running("--count-only")),
        Tracer("sonde (latency)", lambda: sonde_running()),
        _peer("syscount -P", "syscount", *mounted, "syscount", "-P", "-d", "120", package="libbpf-tools"),
        _peer(
            "syscount -P -L",
            "syscount",
            *mounted,
            "syscount",
            "-P",
            "-L",
            "-d",
            "120",
            package="libbpf-tools",
        ),
        _peer(
            "bpftrace @[pid] = count()", "bpftrace", *mounted, "bpftrace", "-e", script, package="bpftrace"
        ),
    ]
