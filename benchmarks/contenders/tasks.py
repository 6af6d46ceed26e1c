"""Ten tasks of an operator, and how each tool is asked for them; "" where it has no way that fits a few lines.

A command measures for one second, prints its answer and ends. ``{pid}`` is a busy process for tools that look at one only.
"""

from __future__ import annotations

from dataclasses import dataclass

TOOLS = ("sonde", "libbpf-tools", "bpftrace", "BCC", "perf", "strace", "SystemTap")
END = "interval:s:1 { exit(); }"
FOLDED = "perf record -q -a -g -F 99 -o {scratch}/perf.data sleep 1 && perf script -i {scratch}/perf.data"


@dataclass(frozen=True)
class Task:
    """A task; ``wanted`` is a pattern that a right answer has: of the busy process where it is told apart, with a figure."""

    title: str
    wanted: str
    commands: dict[str, str]


TASKS = (
    Task(
        "system calls by process",
        r"\b{pid}\b.*\d{3}|^100\.00 .* total$",
        {
            "sonde": "sonde top syscalls --count-only --for 1s",
            "libbpf-tools": "syscount -P -d 1",
            "BCC": "syscount-bpfcc -P -d 1",
            "bpftrace": "bpftrace -e 'tracepoint:raw_syscalls:sys_enter { @[pid, comm] = count(); } "
            + END
            + "'",
            "perf": "perf trace -a -s sleep 1 2>&1",
            "strace": "timeout -s INT -k 5 1 strace -f -c -p {pid} 2>&1",
            "SystemTap": "stap -e 'global c; probe kernel.trace(\"raw_syscalls:sys_enter\") { c[pid()]++ } probe timer.s(1) { exit() }'",
        },
    ),
    Task(
        "distribution of how long openat takes",
        r"█\S* +[\d,]+$|\d +\|[@*]+",
        {
            "sonde": "sonde hist syscalls --syscall openat --for 1s",
            "libbpf-tools": "timeout -s INT 1 funclatency do_sys_openat2",
            "BCC": "funclatency-bpfcc -d 1 do_sys_openat2",
            "bpftrace": "bpftrace -e 'tracepoint:syscalls:sys_enter_openat { @t[tid] = nsecs; } tracepoint:syscalls:sys_exit_openat /@t[tid]/ "
            "{ @ns = hist(nsecs - @t[tid]); delete(@t[tid]); } " + END + "'",
            "SystemTap": "stap -e 'global s; probe syscall.openat.return { s <<< gettimeofday_ns() - @entry(gettimeofday_ns()) } "
            "probe timer.s(1) { print(@hist_log(s)); exit() }'",
        },
    ),
    Task(
        "opens that fail, and why",
        r"python\b.*(ENOENT|-2\]|-1 +2 )|nonexistent.*ENOENT",
        {
            "sonde": "sonde top syscalls --syscall openat --errors --for 1s",
            "libbpf-tools": "opensnoop -x -d 1",
            "BCC": "opensnoop-bpfcc -x -d 1",
            "bpftrace": "bpftrace -e 'tracepoint:syscalls:sys_exit_openat /args->ret < 0/ { @[comm, args->ret] = count(); } "
            + END
            + "'",
            "perf": "perf trace -a --failure -e openat sleep 1 2>&1",
            "strace": "timeout -s INT -k 5 1 strace -f -Z -e trace=openat -p {pid} 2>&1",
        },
    ),
    Task(
        "programs that are run",
        r"/bin/true|\btrue/\d+ execve\(",
        {
            "sonde": "sonde trace processes --for 1s",
            "libbpf-tools": "timeout -s INT 1 execsnoop",
            "BCC": "timeout -s INT 3 execsnoop-bpfcc",
            "bpftrace": "timeout -s INT 2 execsnoop.bt",
            "perf": "perf trace -a -e execve sleep 1 2>&1",
            "strace": "timeout -s INT -k 5 1 strace -f -e trace=execve -p {pid} 2>&1",
        },
    ),
    Task(
        "TCP connections, with bytes",
        r"^{pid} .*127\.0\.0\.1.*\d|{pid} .*127\.0\.0\.1.*\d B\b",
        {
            "sonde": "sonde trace tcp --for 1s",
            "libbpf-tools": "timeout -s INT 1 tcplife",
            "BCC": "timeout -s INT 3 tcplife-bpfcc",
            "bpftrace": "timeout -s INT 3 tcplife.bt",
        },
    ),
    Task(
        "packets by protocol",
        r"\bTCP\b.*\d{2}",
        {"sonde": "sonde top packets --interface lo --hook tc --for 1s"},
    ),
    Task(
        "dropped packets, and why",
        r"NO_SOCKET.*\d|__udp4_lib_rcv|reason: \d+|tcp_drop",
        {
            "sonde": "sonde top drops --for 1s",
            "BCC": "timeout -s INT 2 tcpdrop-bpfcc",
            "bpftrace": "bpftrace -e 'tracepoint:skb:kfree_skb { @[args->reason, ksym(args->location)] = count(); } "
            + END
            + "'",
            "perf": "perf trace -a -e skb:kfree_skb sleep 1 2>&1",
        },
    ),
    Task(
        "a CPU profile, as stacks",
        r"^.+;.+ \d+$|^ +\w+\+\d+$|^\s*[0-9a-f]+ \S+\+0x",
        {
            "sonde": "sonde profile cpu --for 1s --format folded",
            "BCC": "profile-bpfcc -f -F 99 1",
            "bpftrace": "bpftrace -e 'profile:hz:99 { @[kstack, ustack, comm] = count(); } " + END + "'",
            "perf": FOLDED,
        },
    ),
    Task(
        "system calls by process, as JSON",
        r"^\{.*\b{pid}\b",
        {
            "sonde": "sonde top syscalls --count-only --for 1s --format json",
            "bpftrace": "bpftrace -f json -e 'tracepoint:raw_syscalls:sys_enter { @[pid, comm] = count(); } "
            + END
            + "'",
            "perf": "perf stat -j --per-thread -a -e raw_syscalls:sys_enter sleep 1 2>&1",
        },
    ),
    Task(
        "the same for Prometheus, as long as one likes",
        r"^sonde_syscall\w*\{.*\} \d",
        {
            "sonde": "sonde run --set prometheus.listen=127.0.0.1:{port} --for 6s & sleep 4; curl -s http://127.0.0.1:{port}/metrics; wait"
        },
    ),
)
