"""Everything that counts system calls by process, and the floors below it."""

from __future__ import annotations

from functools import partial

from benchmarks.contenders import bcc_tools
from benchmarks.contenders.contender import Contender, floor, nothing, running, sonde, wrapping

NONE = "no tracer"
FLOOR = "empty program, entry"
FLOOR_BOTH = "empty programs, entry and exit"
COUNTS = "sonde top syscalls --count-only"
LATENCY = "sonde top syscalls"
SAMPLED = "sonde top syscalls --sample 100"
CHOSEN = "sonde top syscalls --syscall openat"
TOP = ("top", "syscalls", "--format", "json", "--limit", "0", "--every", "1h")
ROWS = "100000"
PAIRS = {
    "syscount -P": COUNTS,
    "syscount -P -L": LATENCY,
    "bpftrace count()": COUNTS,
    "bpftrace hist()": LATENCY,
    "BCC syscount -P": COUNTS,
    "BCC syscount -P -L": LATENCY,
    "perf stat": COUNTS,
    "perf trace -s": LATENCY,
    "strace -c": LATENCY,
}
"""What does the same, or the nearest to it: counts by process; with the time that calls take."""
COUNT_SCRIPT = "tracepoint:raw_syscalls:sys_enter { @[pid] = count(); }"
LATENCY_SCRIPT = """
tracepoint:raw_syscalls:sys_enter { @start[tid] = nsecs; }
tracepoint:raw_syscalls:sys_exit /@start[tid]/ { @[pid, args->id] = hist(nsecs - @start[tid]); delete(@start[tid]); }
"""
STAP_SCRIPT = 'global c; probe kernel.trace("raw_syscalls:sys_enter") { c[pid()]++ }'


def contenders() -> list[Contender]:
    """All of them; the first is no tracer at all."""
    return [
        Contender(NONE, "floor", nothing),
        Contender(FLOOR, "floor", partial(floor, "floor_enter")),
        Contender(FLOOR_BOTH, "floor", partial(floor, "floor_enter", "floor_exit")),
        Contender(COUNTS, "sonde", partial(sonde, *TOP, "--count-only")),
        Contender(LATENCY, "sonde", partial(sonde, *TOP)),
        Contender(SAMPLED, "sonde", partial(sonde, *TOP, "--sample", "100")),
        Contender(CHOSEN, "sonde", partial(sonde, *TOP, "--syscall", "openat")),
        *peers(),
    ]


def peers() -> list[Contender]:
    """The others; strace starts its target itself and stops it twice for each call."""
    return [
        Contender("syscount -P", "peer", partial(running, "syscount", "-P", "-T", ROWS, "-d", "600")),
        Contender(
            "syscount -P -L", "peer", partial(running, "syscount", "-P", "-L", "-T", ROWS, "-d", "600")
        ),
        Contender("bpftrace count()", "peer", partial(running, "bpftrace", "-e", COUNT_SCRIPT)),
        Contender("bpftrace hist()", "peer", partial(running, "bpftrace", "-e", LATENCY_SCRIPT)),
        Contender("BCC syscount -P", "peer", partial(bcc_tools.tool, "syscount", "-P", "-T", ROWS)),
        Contender("BCC syscount -P -L", "peer", partial(bcc_tools.tool, "syscount", "-P", "-L", "-T", ROWS)),
        Contender(
            "perf stat", "peer", partial(running, "perf", "stat", "-a", "-e", "raw_syscalls:sys_enter")
        ),
        Contender("perf trace -s", "peer", partial(running, "perf", "trace", "-a", "-s"), slow=5),
        Contender("strace -c", "peer", partial(wrapping, "strace", "-c", "-f"), slow=100),
        Contender("SystemTap", "peer", partial(running, "stap", "-e", STAP_SCRIPT)),
    ]
