"""The kinds of events that are compared: the work that makes them, the tools that show them, and how their answers are read."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benchmarks import built
from benchmarks.contenders import bcc_tools
from benchmarks.contenders.contender import (
    WORK_CPU,
    Contender,
    Session,
    floor,
    nothing,
    running,
    sonde,
    ticking,
    wrapping,
)
from benchmarks.crowds import said_lost
from benchmarks.workloads.works import seconds_of, switch_ns

PORT = 18081
SAMPLES_PER_S = 99
SCRATCH = built.BUILD / "scratch"
CONNECTIONS = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
for _ in range(int(sys.argv[2])):
    client = socket.create_connection(server.getsockname())
    accepted, _ = server.accept()
    client.sendall(b"x" * 1000)
    accepted.recv(1000)
    client.close()
    accepted.close()
"""
BURN = "n = 0\nfor i in range({size}): n += i * i"
BPFTRACE_OPENS = (
    'tracepoint:syscalls:sys_enter_openat { printf("%d %s %s\\n", pid, comm, str(args->filename)); }'
)
BPFTRACE_EXECS = 'tracepoint:sched:sched_process_exec { printf("%d %s\\n", pid, str(args->filename)); }'
BPFTRACE_CONNECTIONS = (
    "tracepoint:sock:inet_sock_set_state /args->newstate == 7/"
    ' { printf("%d %d %d\\n", pid, args->sport, args->dport); }'
)
BPFTRACE_DISK = """
tracepoint:block:block_rq_issue { @start[args->dev, args->sector] = nsecs; }
tracepoint:block:block_rq_complete /@start[args->dev, args->sector]/ {
  @us = hist((nsecs - @start[args->dev, args->sector]) / 1000); delete(@start[args->dev, args->sector]); }
"""
BPFTRACE_PROFILE = "profile:hz:99 { @[kstack, ustack, comm] = count(); }"
NONE = Contender("no tracer", "floor", nothing)


@dataclass(frozen=True)
class Tool:
    """A contender, and how many events its answer shows; None where it shows a sum."""

    contender: Contender
    shown: Callable[[Session], int] | None = None


@dataclass(frozen=True)
class Kind:
    """Events of one kind: ``work`` makes them behind a prefix, and gives microseconds of one, and how many it made.

    Of ``tools`` those of sonde come before the peers that do the same.
    """

    name: str
    title: str
    what: str
    work: Callable[[list[str], int], tuple[float, int]]
    tools: list[Tool]

    @property
    def pairs(self) -> dict[str, str]:
        """Name for each peer whom of sonde's it is compared with: the last one above it."""
        found, ours = dict[str, str](), ""
        for contender in (tool.contender for tool in self.tools):
            if contender.kind == "sonde":
                ours = contender.name
            elif contender.kind == "peer":
                found[contender.name] = ours
        return found


def said(tool: Tool, session: Session) -> str:
    """Give what a tool says of loss."""
    return said_lost(tool.contender, session)


def _shown(pattern: str) -> Callable[[Session], int] | None:
    return (lambda session: session.lines(pattern)) if pattern else None


def _empty(*programs: str) -> Tool:
    """Empty programs on the hooks of the probe."""
    return Tool(Contender("empty programs", "floor", partial(floor, *programs)))


def _peer(name: str, *command: str, shown: str = "") -> Tool:
    return Tool(Contender(name, "peer", partial(running, *command)), _shown(shown))


def _bcc(name: str, *arguments: str, shown: str = "") -> Tool:
    contender = Contender(f"BCC {name}", "peer", partial(bcc_tools.tool, name, *arguments))
    return Tool(contender, _shown(shown))


def _strace(shown: str, *arguments: str, slow: int = 1) -> list[Tool]:
    """By itself it stops its target at every call, and drops those that are not wanted; the kernel can leave them out for it."""
    return [
        Tool(Contender(name, "peer", partial(wrapping, *name.split(), "-f", *arguments), slow), _shown(shown))
        for name in ("strace", "strace --seccomp-bpf")
    ]


def _sonde(command: str, *arguments: str, shown: str = "") -> Tool:
    contender = Contender(f"sonde {command}", "sonde", partial(sonde, *command.split(), *arguments))
    return Tool(contender, _shown(shown))


# ---- opens ------------------------------------------------------------------------------------------------------


def _opens(prefix: list[str], slow: int, *, size: int) -> tuple[float, int]:
    calls = size // slow
    pinned = ["taskset", "-c", str(WORK_CPU), str(built.storm()), str(calls), "open"]
    told = subprocess.run([*prefix, *pinned], check=True, capture_output=True, text=True).stdout
    return float(told) / 1e3, calls


def opens(*, quick: bool) -> Kind:
    """Files that are opened, as fast as one CPU can."""
    return Kind(
        "opens",
        "Each open of a file, in a flood",
        "One process opens and closes `/dev/null` as fast as it can; each open is to be shown as a line. sonde shows registers: not the file's name,\n"
        "which the others copy from the process.\n",
        partial(_opens, size=20_000 if quick else 100_000),
        [
            Tool(NONE),
            _empty("floor_enter", "floor_exit"),
            _sonde("trace syscalls", "--syscall", "openat", "--format", "json", shown='"comm":"storm"'),
            _peer("opensnoop", "opensnoop", shown=r"\bstorm\b"),
            _peer("bpftrace printf()", "bpftrace", "-e", BPFTRACE_OPENS, shown=r"\bstorm\b"),
            _bcc("opensnoop", shown=r"\bstorm\b"),
            _peer("perf trace", "perf", "trace", "-a", "-e", "openat", shown=r"storm/\d+ openat"),
            *_strace(r"openat\(.*/dev/null", "-e", "trace=openat", slow=20),
        ],
    )


# ---- processes --------------------------------------------------------------------------------------------------


def _execs(prefix: list[str], _: int, *, size: int) -> tuple[float, int]:
    loop = f"i=0; while [ $i -lt {size} ]; do /bin/true; i=$((i+1)); done"
    return seconds_of([*prefix, "sh", "-c", loop]) / size * 1e6, size


def execs(*, quick: bool) -> Kind:
    """Programs that are run, one after the other."""
    return Kind(
        "execs",
        "Each program that is run",
        "A shell runs `/bin/true` again and again; each is to be shown as a line. sonde shows its beginning, its program and its end, the others the program.\n",
        partial(_execs, size=100 if quick else 500),
        [
            Tool(NONE),
            _empty("floor_fork", "floor_exec", "floor_process_exit"),
            _sonde("trace processes", "--format", "json", shown=r'"exec".*"true"|"true".*"exec"'),
            _peer("execsnoop", "execsnoop", shown=r"/bin/true"),
            _peer("bpftrace printf()", "bpftrace", "-e", BPFTRACE_EXECS, shown=r"/bin/true"),
            _bcc("execsnoop", shown=r"/bin/true"),
            _peer("perf trace", "perf", "trace", "-a", "-e", "execve", shown=r"execve\("),
            *_strace(r"execve\(.*/bin/true", "-e", "trace=execve"),
        ],
    )


# ---- connections ------------------------------------------------------------------------------------------------


def _connections(prefix: list[str], _: int, *, size: int) -> tuple[float, int]:
    command = [sys.executable, "-I", "-S", "-c", CONNECTIONS, str(PORT), str(size)]
    # A connection has two ends, and each is an event.
    return seconds_of([*prefix, "taskset", "-c", str(WORK_CPU), *command]) / size / 2 * 1e6, 2 * size


def connections(*, quick: bool) -> Kind:
    """TCP connections over loopback."""
    port = rf"\b{PORT}\b"
    return Kind(
        "connections",
        "Each TCP connection",
        "A process connects to itself over loopback, sends 1,000 bytes and closes; each of both ends is to be shown as a line. sonde shows the latency,\n"
        "the round-trip time, retransmissions and how it ended too.\n",
        partial(_connections, size=200 if quick else 2_000),
        [
            Tool(NONE),
            _empty("floor_state", "floor_destroyed"),
            _sonde("trace tcp", "--format", "json", shown=port),
            _peer("tcplife", "tcplife", shown=port),
            _peer("bpftrace printf()", "bpftrace", "-e", BPFTRACE_CONNECTIONS, shown=port),
            _bcc("tcplife", shown=port),
            _peer("bpftrace's tcplife.bt", "tcplife.bt", shown=port),
        ],
    )


# ---- disk -------------------------------------------------------------------------------------------------------


def _writes(prefix: list[str], _: int, *, size: int) -> tuple[float, int]:
    file = built.BUILD / "direct"
    command = ["dd", "if=/dev/zero", f"of={file}", "bs=4k", f"count={size}", "oflag=direct"]
    spent = seconds_of([*prefix, *command]) / size * 1e6
    file.unlink()
    return spent, size


def disk(*, quick: bool) -> Kind:
    """Writes to a disk."""
    return Kind(
        "disk",
        "How long a disk takes",
        "`dd` writes blocks of 4 KiB past the cache; a histogram of how long requests take is summed in the kernel.\n",
        partial(_writes, size=200 if quick else 2_000),
        [
            Tool(NONE),
            _empty("floor_issue", "floor_complete"),
            _sonde("hist disk"),
            _peer("biolatency", "biolatency"),
            _peer("bpftrace hist()", "bpftrace", "-e", BPFTRACE_DISK),
            _peer("bpftrace's biolatency.bt", "biolatency.bt"),
            _bcc("biolatency"),
        ],
    )


# ---- profiles ---------------------------------------------------------------------------------------------------


def _burn(prefix: list[str], _: int, *, size: int) -> tuple[float, int]:
    command = [sys.executable, "-I", "-S", "-c", BURN.format(size=size)]
    spent = seconds_of([*prefix, "taskset", "-c", str(WORK_CPU), *command])
    samples = max(1, round(spent * SAMPLES_PER_S))
    return spent / samples * 1e6, samples


def profiles(*, quick: bool) -> Kind:
    """A CPU profile of Python that computes."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    return Kind(
        "profiles",
        "A CPU profile, 99 times a second",
        "CPython computes on one CPU; stacks of the whole machine are taken 99 times a second on each CPU. py-spy stops its target for each sample and sees Python's functions;\n"
        "the others see the kernel's and the interpreter's. An event is a sample. perf writes a file, and is not asked here for what `perf script` makes of it.\n",
        partial(_burn, size=3_000_000 if quick else 20_000_000),
        [
            Tool(NONE),
            Tool(Contender("empty program", "floor", partial(ticking, SAMPLES_PER_S))),
            _sonde("profile cpu", "-o", str(SCRATCH / "cpu.folded")),
            _peer(
                "perf record -g", "perf", "record", "-a", "-g", "-F", "99", "-o", str(SCRATCH / "perf.data")
            ),
            _peer("bpftrace profile:hz:99", "bpftrace", "-e", BPFTRACE_PROFILE),
            _bcc("profile", "-F", "99"),
            Tool(
                Contender(
                    "py-spy record",
                    "peer",
                    partial(
                        wrapping, str(Path(sys.executable).with_name("py-spy")), "record", "-r", "99", "--"
                    ),
                )
            ),
        ],
    )


# ---- switches ---------------------------------------------------------------------------------------------------


def _switches(prefix: list[str], _: int, *, size: int) -> tuple[float, int]:
    return switch_ns(prefix, size) / 1e3, size


def switches(*, quick: bool) -> Kind:
    """Threads that wait for a CPU, and for each other."""
    SCRATCH.mkdir(parents=True, exist_ok=True)
    return Kind(
        "switches",
        "Each switch from a thread to another",
        "Two processes on one CPU hand a byte to and fro; what a switch takes is their CPU time. Of each hand-over is summed how long who was woken waited for the CPU (`runqueue`, `runqlat`), or how long it was\n"
        "blocked, with the stack in which (`offcpu`, `offcputime`).\n",
        partial(_switches, size=10_000 if quick else 400_000),
        [
            Tool(NONE),
            _empty("floor_switch", "floor_wakeup"),
            _sonde("hist runqueue"),
            _peer("runqlat", "runqlat"),
            _peer("bpftrace's runqlat.bt", "runqlat.bt"),
            _bcc("runqlat"),
            _sonde("profile offcpu", "-o", str(SCRATCH / "offcpu.folded")),
            _peer("offcputime", "offcputime"),
            _bcc("offcputime"),
        ],
    )


def kinds(*, quick: bool) -> list[Kind]:
    """All of them, or two."""
    found = (opens, connections) if quick else (opens, execs, connections, disk, profiles, switches)
    return [kind(quick=quick) for kind in found]
