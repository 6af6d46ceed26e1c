"""Why a thread was off its CPU: by the functions of the kernel on its stack, and by the scheduler's state of it.

The table RULES is read from the innermost function outwards, and the first function that has a rule decides: who waits for
a mutex in the middle of a read from a pipe waits for a lock. Names are of Linux 5.10 to 7.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from sonde.enrich.each import TEXT
from sonde.records.frames import COLUMNS, KERNEL, SEPARATOR, Written
from sonde.records.model import RecordBatch
from sonde.records.stacks import KERNEL_STACK

STATE = "sonde_task_state_t"
"""The typedef of a state: probes/_include/types.bpf.h."""

RUN_QUEUE, IO, LOCK, FUTEX, PIPE, SLEEP = "run queue", "I/O", "lock", "futex", "pipe", "sleep"
POLL, SOCKET, CHILD, SIGNAL, STOPPED = "poll", "socket", "child", "signal", "stopped"
TERMINAL, MESSAGE, IO_URING, PAGE_FAULT = "terminal", "message", "io_uring", "page fault"
IDLE_WORKER, EXIT, RCU, OTHER = "idle worker", "exit", "rcu", "other"

STATES = {
    0x00: "runnable",
    0x01: "interruptible",
    0x02: "uninterruptible",
    0x04: "stopped",
    0x08: "traced",
    0x40: "parked",
}
"""The lowest bits of a state (include/linux/sched.h) in words; what has none of them, or several, is OTHER."""

RULES: Mapping[str, tuple[str, ...]] = {
    SLEEP: ("do_nanosleep", "hrtimer_nanosleep", "common_nsleep.*", "msleep.*", "usleep_range.*", "alarm_timer_nsleep"),
    FUTEX: ("futex_.*", "__futex_.*", "do_futex"),
    LOCK: (
        "_*mutex_lock.*",
        "_*ww_mutex_lock.*",
        "_*rt_mutex_.*",
        "rt_mutex_slowlock.*",
        "rtlock_slowlock.*",
        "rwsem_.*",
        "_*down_(read|write).*",
        "_*down(_interruptible|_killable|_timeout|_common)?",
        "_*percpu_(down_read|down_write|rwsem_wait).*",
        "(flock|posix|locks)_lock_inode_wait",
        "fcntl_(setlk|getlk).*",
        "do_lock_file_wait",
        "_*do_semtimedop",
        "queued_(read|write)_lock_slowpath",
    ),
    PIPE: ("(anon_)?pipe_(read|write)", "pipe_wait.*", "wait_for_partner", "fifo_open", "splice_(from|to)_pipe.*", "ipipe_prep.*"),
    POLL: ("ep_poll", "do_epoll_wait", "poll_schedule_timeout.*", "do_(sys_)?poll", "do_select", "core_sys_select"),
    IO_URING: ("io_cqring_.*", "io_sq_thread", "io_sqpoll_wait_sq", "io_uring_.*"),
    SOCKET: (
        "inet_csk_(accept|wait_for_connect)",
        "inet_wait_for_connect",
        "_*inet_stream_connect",
        "sk_wait_data",
        "sk_stream_wait_.*",
        "tcp_recvmsg.*",
        "unix_(stream_(read|data_wait)|wait_for_peer|dgram_|accept).*",
        "_*skb_(wait_for_more_packets|recv_datagram)",
        "sock_(alloc_send_pskb|wait_for_wmem|def_readable)",
        "netlink_.*",
        "vsock_.*",
        "sctp_.*",
    ),
    # Compilers put wait_for_vfork_done into kernel_clone.
    CHILD: ("do_wait", "kernel_wait4?", "wait_for_vfork_done", "kernel_clone"),
    STOPPED: ("do_signal_stop", "ptrace_(stop|do_notify)", "do_freezer_trap", "do_jobctl_trap"),
    SIGNAL: ("do_sigtimedwait", "sigsuspend", "(__do_|do_)?sys_pause", "__x64_sys_pause", "__arm64_sys_pause", "signalfd_(read|dequeue).*"),
    MESSAGE: ("do_msg(rcv|snd)", "wq_sleep", "do_mq_timed(receive|send)", "eventfd_(read|write)", "timerfd_read.*", "inotify_read", "fanotify_.*"),
    TERMINAL: ("n_tty_(read|write)", "tty_(wait_until_sent|write_lock)", "vt_waitactive"),
    IO: (
        "io_schedule.*",
        "bit_wait_io.*",
        "folio_wait_.*",
        "_*folio_lock.*",
        "_*wait_on_page_.*",
        "_*lock_page.*",
        "_*wait_on_buffer",
        "submit_bio_wait.*",
        "blk(dev)?_.*",
        "rq_qos_wait",
        "wbt_wait",
        "jbd2_.*",
        "ext4_.*",
        "xfs_.*",
        "xlog_.*",
        "btrfs_.*",
        "f2fs_.*",
        "nfs_.*",
        "rpc_wait_.*",
        "_*fuse_(request_.*|simple_request|wait_.*)",
        "request_wait_answer",
        "p9_client_rpc",
        "p9_virtio_.*",
        "cifs_.*",
        "read_events",
        "(generic_)?file_(fdatawait|write_and_wait)_range.*",
        "balance_dirty_pages.*",
        "iomap_.*",
        "_*blockdev_direct_IO",
        "scsi_.*",
        "nvme_.*",
        "loop_.*",
        "dm_.*",
        "writeback_.*",
        "sync_inodes_sb",
        "wb_wait_for_completion",
    ),
    PAGE_FAULT: ("handle_userfault", "handle_mm_fault", "(asm_)?exc_page_fault", "do_(user_addr|page|mem)_(fault|abort).*"),
    RCU: ("synchronize_rcu.*", "_*wait_rcu_gp.*", "synchronize_srcu.*", "rcu_barrier.*"),
    EXIT: ("do_exit", "exit_mm.*", "do_group_exit", "de_thread", "coredump_wait"),
    IDLE_WORKER: (
        "worker_thread",
        "kthread_worker_fn",
        "smpboot_thread_fn",
        "rescuer_thread",
        "rcu_(gp_kthread|gp_fqs_loop|tasks_.*|nocb_.*)",
        "kswapd.*",
        "kcompactd.*",
        "khugepaged.*",
        "ksoftirqd",
        "oom_reaper",
        "io_wqe?_worker",
        "kthreadd",
        "irq_thread",
        "kjournald2",
        "hub_event",
    ),
}  # fmt: skip
"""Whole names of functions, as patterns, by reason."""

IN_IOWAIT = {LOCK: IO}
"""What a lock is that is waited for as I/O is (mutex_lock_io, io_schedule)."""

_PATTERN = re.compile("|".join(f"(?P<_{at}>{'|'.join(names)})" for at, names in enumerate(RULES.values())))
_REASONS = tuple(RULES)

_SCHEDULER = re.compile(
    r"bpf_prog_.*|bpf_trace_run\d+|_*bpf_trace_.*|__traceiter_.*|trace_.*|bpf_get_stack.*|_*schedule"
    r"|schedule_(rtlock|preempt_disabled|idle)|preempt_schedule.*|_*cond_resched.*|xfd_validate_state|perf_trace_.*"
)
"""What leads from the place where a thread leaves its CPU to our program: of no interest to anybody."""

_CALLS_US = re.compile(r"_*bpf_trace_run\d*")


@functools.lru_cache(1 << 16)
def _rule_of(function: str) -> str:
    found = _PATTERN.fullmatch(function)
    return _REASONS[int((found.lastgroup or "_0")[1:])] if found else ""


def reason_of(functions: Sequence[str], *, state: int, in_iowait: bool = False) -> str:
    """Say why a thread was off its CPU: ``functions`` are those of the kernel, the innermost first."""
    if state == 0:
        return RUN_QUEUE
    for function in functions:
        reason = _rule_of(function)
        if reason:
            return IN_IOWAIT.get(reason, reason) if in_iowait else reason
    if in_iowait:
        return IO
    return STOPPED if STATES.get(state) in ("stopped", "traced") else OTHER


def without_scheduler(stack: Written) -> Written:
    """Leave the scheduler's own functions, and what they call, off a stack of the kernel that was taken at a switch."""
    functions = stack.names.split(SEPARATOR) if stack.kinds else []
    left = len(functions)
    # What that calls is our own program, whatever it is called: the kernel's list may have been read before it was loaded.
    if left > 1 and _CALLS_US.fullmatch(functions[-2]):
        left -= 1
    while left and stack.kinds[left - 1] == KERNEL and _SCHEDULER.fullmatch(functions[left - 1]):
        left -= 1
    return stack.outermost(left)


def with_block_reason(batch: RecordBatch) -> RecordBatch:
    """Add the column ``reason``, and put ``state`` in words.

    Without names of frames the state alone decides: run queue, I/O, stopped, or other. What is of ``other`` has no reason.
    """
    import numpy as np

    states: list[int] = np.asarray(batch["state"]).tolist()
    in_iowait: list[int] = np.asarray(batch["in_iowait"]).tolist()
    stacks = _kernel_stacks(batch)
    # Many rows wait at the same place.
    found: dict[tuple[int, int, int], str] = {}
    reasons = []
    functions: dict[int, list[str]] = {}
    for number, names, kinds, state, iowait in zip(*stacks, states, in_iowait, strict=True):
        key = (number, state, iowait)
        if key not in found:
            if number not in functions:
                functions[number] = _kernel_functions(names, kinds)
            found[key] = reason_of(functions[number], state=state, in_iowait=bool(iowait))
        reasons.append(found[key])
    other = np.asarray(batch["is_other"])
    added: dict[str, Any] = {}
    for name, words in (("reason", reasons), ("state", [STATES.get(each, OTHER) for each in states])):
        added[name] = np.ma.masked_array(np.array(words, dtype=object), mask=other)
    return batch.adding(added, meanings={"reason": TEXT, "state": TEXT})


def _kernel_stacks(batch: RecordBatch) -> tuple[list[int], list[str], list[str]]:
    """Give the numbers of the rows' stacks in the kernel, and names and kinds of all their frames; 0 and "" without names."""
    import numpy as np

    if COLUMNS[0] not in batch.columns:
        return [0] * len(batch), [""] * len(batch), [""] * len(batch)
    number = batch.schema.having(KERNEL_STACK)[0]
    return np.asarray(batch[number.name]).tolist(), batch[COLUMNS[0]].tolist(), batch[COLUMNS[1]].tolist()


def _kernel_functions(names: str, kinds: str) -> list[str]:
    """Give the kernel's functions of a stack, the innermost first."""
    functions = names.split(SEPARATOR) if kinds else []
    return [name for name, kind in zip(reversed(functions), reversed(kinds), strict=True) if kind == KERNEL]
