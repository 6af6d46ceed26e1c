"""What tools do to what they look at, and what is left when they are killed: ``python -m benchmarks.safety``.

The target is a process that watches its own pauses. A tool attaches, is killed with SIGKILL, and the kernel is asked what is left. Then
each tool is started with ever more capabilities, as uid 0 with those alone, until it attaches.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import built
from benchmarks.contenders import bcc_tools, resources
from benchmarks.contenders.contender import SONDE, TOLD, TOOLS_CPU, WORK_CPU, Session, complaint
from benchmarks.contenders.lifetime import WITH_US
from benchmarks.contenders.syscall_tools import COUNT_SCRIPT
from benchmarks.gathering import Gathering, in_turn
from benchmarks.options import Options, run_part
from benchmarks.results import Column, Kind, Part
from sonde._libbpf import ffi, lib

ATTACH_S = 20.0
BESIDE_S = 0.7
ERRORS = TOLD / "safety.txt"
LEVELS = (
    ("no capability", ""),
    ("CAP_PERFMON", "+perfmon"),
    ("CAP_BPF, CAP_PERFMON", "+bpf,+perfmon"),
    ("CAP_BPF, CAP_PERFMON, CAP_SYS_RESOURCE", "+bpf,+perfmon,+sys_resource"),
    ("CAP_SYS_PTRACE", "+sys_ptrace"),
    ("CAP_SYS_ADMIN", "+sys_admin"),
    ("CAP_SYS_ADMIN, CAP_SYS_RESOURCE", "+sys_admin,+sys_resource"),
)
KPROBES, UPROBES = Path("/sys/kernel/tracing/kprobe_events"), Path("/sys/kernel/tracing/uprobe_events")
WHAT = """\
A Python process makes system calls and notes the longest pause that it sees while a tool attaches, looks, and is killed by `kill -9`; *its speed* is how much of its
calls it still makes. *Stopped* is how often, of a hundred looks, it stood in a tracing stop. *Left behind* are BPF programs and maps, probes in tracefs and kernel modules
that are there after the tool's death and were not before. The capabilities are the first of these lists with which the tool attaches, as uid 0 with no other:
{levels}. (The target has all capabilities; what looks at a process of one's own by ptrace needs none.)
""".format(levels="; ".join(name for name, _ in LEVELS))
COLUMNS = (
    Column("longest_ms", "longest pause of the target", "ms"),
    Column("speed", "its speed", "%", "more"),
    Column("stopped", "stopped", "%"),
    Column("alive", "runs on after kill -9", "%", "more"),
    Column("left", "left behind", ""),
)


@dataclass(frozen=True)
class Tool:
    """A command; ``{pid}`` is the target."""

    name: str
    kind: Kind
    command: tuple[str, ...]
    environment: dict[str, str] | None = None


def tools() -> list[Tool]:
    """One of each way to look."""
    py_spy = str(Path(sys.executable).with_name("py-spy"))
    return [
        Tool("no tracer", "floor", ()),
        Tool("sonde top syscalls", "sonde", (str(SONDE), "top", "syscalls")),
        Tool("syscount -P", "peer", ("syscount", "-P", "-d", "60")),
        Tool("bpftrace count()", "peer", ("bpftrace", "-e", COUNT_SCRIPT)),
        Tool("BCC syscount -P", "peer", ("syscount-bpfcc", "-P"), bcc_tools.environment()),
        Tool("perf trace -s", "peer", ("perf", "trace", "-a", "-s")),
        Tool("perf record", "peer", ("perf", "record", "-a", "-F", "99", "-o", "/dev/null")),
        Tool("strace -c", "peer", ("strace", "-f", "-c", "-p", "{pid}")),
        Tool("py-spy", "peer", (py_spy, "record", "-d", "60", "-o", "/dev/null", "-p", "{pid}")),
        Tool("SystemTap", "peer", ("stap", "-e", "probe begin {}")),
    ]


def in_kernel() -> set[str]:
    """Name what tools leave behind: programs, maps, probes in tracefs, modules."""
    found = set()
    for kind, following in (("program", lib.bpf_prog_get_next_id), ("map", lib.bpf_map_get_next_id)):
        number = ffi.new("__u32 *", 0)
        while following(number[0], number) == 0:
            found.add(f"{kind} {number[0]}")
    for path in (KPROBES, UPROBES, Path("/proc/modules")):
        if path.exists():
            found |= {line.split()[0] for line in path.read_text().splitlines() if line}
    return found


@contextmanager
def _target() -> Iterator[tuple[subprocess.Popen[str], dict[str, float]]]:
    """Run the target; what it says of itself is there after the block."""
    command = [*WITH_US, "taskset", "-c", str(WORK_CPU), sys.executable, "-m", "benchmarks.workloads.pulse"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=built.ROOT)
    assert process.stdout is not None
    process.stdout.readline()
    told: dict[str, float] = {}
    try:
        yield process, told
    finally:
        # One that is left stopped would never end.
        process.send_signal(signal.SIGCONT)
        process.terminate()
        told.update(json.loads(process.communicate(timeout=20)[0]))


def _state(pid: int) -> str:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0]


def _start(tool: Tool, pid: int, *, capabilities: str | None = None) -> subprocess.Popen[bytes]:
    limited = [] if capabilities is None else _limited(capabilities)
    command = [part.replace("{pid}", str(pid)) for part in tool.command]
    return subprocess.Popen(
        [*WITH_US, "taskset", "-c", str(TOOLS_CPU), *limited, *command],
        stdin=subprocess.DEVNULL,
        stdout=ERRORS.open("wb"),
        stderr=subprocess.STDOUT,
        env=os.environ | (tool.environment or {}),
    )


def _limited(capabilities: str) -> list[str]:
    wanted = ",".join(filter(None, ("-all", capabilities)))
    return ["setpriv", f"--bounding-set={wanted}", "--inh-caps=-all"]


def _attached(process: subprocess.Popen[bytes], pid: int) -> bool:
    """Wait until a tool holds programs or perf events, or traces the target; False where it ends first."""
    deadline = time.monotonic() + ATTACH_S
    while time.monotonic() < deadline and process.poll() is None:
        tracer = f"TracerPid:\t{process.pid}\n" in Path(f"/proc/{pid}/status").read_text()
        if (
            tracer
            or any("bpf-map" not in each for each in resources.held(process.pid))
            or _is_py_spy(process)
        ):
            time.sleep(BESIDE_S)
            return process.poll() is None
        time.sleep(0.02)
    return False


def _is_py_spy(process: subprocess.Popen[bytes]) -> bool:
    """It holds nothing and traces no longer than a sample takes: it has attached when it did not end."""
    if b"py-spy" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
        return False
    time.sleep(1)
    return process.poll() is None


def measure(options: Options) -> list[Part]:
    """Look at every tool."""
    TOLD.mkdir(parents=True, exist_ok=True)
    found, begun = Gathering(), time.perf_counter()
    chosen = [tool for tool in tools() if options.wants(tool.name)]
    for number in found.rounds(options.rounds(3)):
        for tool in in_turn(chosen, number):
            _one(tool, found)
        print(f"  safety, round {number + 1}", file=sys.stderr, flush=True)
    for tool in chosen:
        if tool.command and not options.quick:
            found.said(tool.name, tool.kind, _needs(tool))
    names = [tool.name for tool in chosen]
    found.derive("speed", "beats_per_s", names[0], lambda beats, alone: beats / alone * 100)
    rows = found.rows(names, COLUMNS, also=["beats_per_s"])
    title, spent = "What tools do to their target", time.perf_counter() - begun
    return [
        Part(
            "safety",
            title,
            WHAT,
            list(COLUMNS),
            rows,
            plots=["longest_ms"],
            said="capabilities",
            seconds=spent,
        )
    ]


def _one(tool: Tool, into: Gathering) -> None:
    before, looks, alive, left = in_kernel(), list[str](), 100.0, 0
    with _target() as (target, told):
        if tool.command:
            process = _start(tool, target.pid)
            try:
                attached = _attached(process, target.pid)
                for _ in range(100):
                    looks.append(_state(target.pid))
                    time.sleep(0.003)
            finally:
                process.kill()
                process.wait()
            if not attached:
                into.missing(tool.name, tool.kind, complaint(Session(output=ERRORS), process.returncode))
            time.sleep(BESIDE_S)
            alive = 100.0 if _state(target.pid) in "RS" else 0.0
            left = _left(before)
        else:
            time.sleep(2 * BESIDE_S)
    if not into.is_missing(tool.name):
        for key, value in {
            "longest_ms": told["longest_ms"],
            "beats_per_s": told["beats_per_s"],
            "stopped": float(sum(look == "t" for look in looks)),
            "alive": alive,
            "left": float(left),
        }.items():
            into.add(tool.name, tool.kind, key, value)


def _left(before: set[str]) -> int:
    """Count what is left; the kernel frees programs a moment after their last user."""
    deadline = time.monotonic() + 3
    while in_kernel() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    return len(in_kernel() - before)


def _needs(tool: Tool) -> str:
    """Find the first list of capabilities with which it attaches."""
    for name, capabilities in LEVELS:
        with _target() as (target, _):
            process = _start(tool, target.pid, capabilities=capabilities)
            try:
                if _attached(process, target.pid):
                    return f"needs {name}"
            finally:
                process.kill()
                process.wait()
    return "attaches with none of these lists"


if __name__ == "__main__":
    run_part(measure, __doc__)
