"""Why a thread was off its CPU: what the functions on its stack say, on kernels from 5.10 to 7."""

from __future__ import annotations

import numpy as np
import pytest

from sonde.enrich.block_reason import RULES, STATE, reason_of, with_block_reason, without_scheduler
from sonde.enrich.waker import with_waker
from sonde.records.frames import COLUMNS, NOTHING, Frame, columns_of, written
from sonde.records.model import Column, RecordBatch, Schema
from sonde.records.stacks import KERNEL_STACK

SLEEPING, WAITING, STOPPED = 1, 2, 4
SYSCALL = "do_syscall_64 entry_SYSCALL_64_after_hwframe"
# From the innermost function outwards, as kernels from 5.10 to 7 have them.
STACKS = {
    "do_nanosleep hrtimer_nanosleep common_nsleep __x64_sys_clock_nanosleep": "sleep",
    "futex_do_wait __futex_wait futex_wait do_futex __x64_sys_futex": "futex",
    "futex_wait_queue_me futex_wait do_futex __x64_sys_futex": "futex",
    "anon_pipe_read vfs_read ksys_read": "pipe",
    "pipe_read new_sync_read vfs_read ksys_read": "pipe",
    "pipe_write vfs_write ksys_write": "pipe",
    "wait_for_partner fifo_open do_dentry_open": "pipe",
    "schedule_preempt_disabled __mutex_lock.constprop.0 pipe_read vfs_read": "lock",
    "rwsem_down_write_slowpath down_write ext4_buffered_write_iter vfs_write": "lock",
    "locks_lock_inode_wait __do_sys_flock __x64_sys_flock": "lock",
    "posix_lock_inode_wait fcntl_setlk do_fcntl": "lock",
    "__do_semtimedop do_semtimedop ksys_semtimedop": "lock",
    "__percpu_down_read cgroup_can_fork copy_process": "lock",
    "schedule_hrtimeout_range_clock ep_poll do_epoll_wait __x64_sys_epoll_wait": "poll",
    "schedule_hrtimeout_range poll_schedule_timeout.constprop.0 do_sys_poll __x64_sys_ppoll": "poll",
    "schedule_timeout inet_csk_accept inet_accept do_accept": "socket",
    "schedule_timeout wait_woken sk_wait_data tcp_recvmsg_locked tcp_recvmsg": "socket",
    "schedule_timeout unix_stream_data_wait unix_stream_read_generic unix_stream_recvmsg": "socket",
    "schedule_timeout __skb_wait_for_more_packets __skb_recv_datagram udp_recvmsg": "socket",
    "do_wait kernel_wait4 __do_sys_wait4": "child",
    "wait_for_completion_state wait_for_vfork_done kernel_clone": "child",
    "schedule_timeout __wait_for_common wait_for_completion_state kernel_clone __do_sys_vfork": "child",
    "sigsuspend __x64_sys_rt_sigsuspend": "signal",
    "do_sigtimedwait __x64_sys_rt_sigtimedwait": "signal",
    "do_signal_stop get_signal arch_do_signal_or_restart": "stopped",
    "n_tty_read tty_read vfs_read": "terminal",
    "do_msgrcv __x64_sys_msgrcv": "message",
    "eventfd_read vfs_read": "message",
    "io_cqring_wait __do_sys_io_uring_enter": "io_uring",
    "io_schedule folio_wait_bit_common filemap_update_page filemap_read ext4_file_read_iter": "I/O",
    "io_schedule wait_on_page_bit filemap_fault __do_fault handle_mm_fault exc_page_fault": "I/O",
    "jbd2_log_wait_commit ext4_sync_file do_fsync": "I/O",
    "io_schedule blk_mq_get_tag __blk_mq_alloc_request blk_mq_submit_bio": "I/O",
    "schedule_timeout wait_for_completion_io_timeout submit_bio_wait blkdev_issue_flush": "I/O",
    "p9_client_rpc p9_client_read v9fs_fid_readpage": "I/O",
    "request_wait_answer __fuse_request_send fuse_do_getattr": "I/O",
    "handle_userfault do_anonymous_page handle_mm_fault do_user_addr_fault exc_page_fault": "page fault",
    "schedule_timeout __wait_rcu_gp synchronize_rcu": "rcu",
    "worker_thread kthread ret_from_fork": "idle worker",
    "smpboot_thread_fn kthread ret_from_fork_asm": "idle worker",
    "some_driver_wait vfs_read": "other",
}


@pytest.mark.parametrize(("stack", "reason"), STACKS.items())
def test_the_innermost_function_with_a_rule_decides(stack: str, reason: str) -> None:
    """A stack of the kernel, with the beginning of the system call behind it."""
    assert reason == reason_of(f"{stack} {SYSCALL}".split(), state=SLEEPING)


def test_every_rule_is_tried_above() -> None:
    """No reason is in the table that no stack has."""
    assert set(RULES) - {"exit"} <= set(STACKS.values())


def test_the_state_decides_where_no_function_does() -> None:
    """Who could run waits in the run queue, whatever is on the stack; a lock that is waited for as I/O is, is I/O."""
    assert "run queue" == reason_of(["pipe_read"], state=0)
    assert "I/O" == reason_of([], state=WAITING, in_iowait=True)
    assert "I/O" == reason_of(["__mutex_lock", "mutex_lock_io"], state=WAITING, in_iowait=True)
    assert "lock" == reason_of(["__mutex_lock"], state=WAITING)
    assert "stopped" == reason_of([], state=STOPPED)
    assert "other" == reason_of([], state=WAITING)


def blocks(rows: list[tuple[list[Frame], int, bool]], *, named: bool = True) -> RecordBatch:
    """Make rows of frames (the outermost first), state and whether they are of other; those of the same frames have one stack."""
    stacks = [written(frames) for frames, _, _ in rows]
    columns = {
        "kernel_stack": np.array([stacks.index(each) for each in stacks], np.uint64),
        "state": np.array([state for _, state, _ in rows], np.uint8),
        "in_iowait": np.zeros(len(rows), np.uint8),
        "is_other": np.array([other for _, _, other in rows]),
    }
    meanings = {"kernel_stack": KERNEL_STACK}
    schema = Schema("offcpu.blocked", tuple(Column(name, meanings.get(name, "")) for name in columns))
    batch = RecordBatch(schema, columns)
    return batch.adding(columns_of(stacks)) if named else batch


USER = [Frame("main", "n", "/bin/a", "a.c", 3), Frame("read", "n", "/lib/libc.so.6")]
KERNEL = [
    Frame(name, "k", "[kernel]") for name in ("entry_SYSCALL_64_after_hwframe", "vfs_read", "pipe_read")
]
OURS = [
    Frame(name, "k", "[kernel]")
    for name in (
        "schedule",
        "__schedule",
        "__traceiter_sched_switch",
        "bpf_trace_run4",
        "bpf_prog_6be4_offcpu_switched",
    )
]


def test_the_schedulers_own_functions_are_left_off() -> None:
    """What is innermost is the function that waits; nothing of another kind that is called so is left off."""
    unknown = [Frame("schedule", "u", "[kernel]")]

    assert written(KERNEL) == without_scheduler(written(KERNEL + OURS))
    assert written(unknown) == without_scheduler(written(unknown))
    assert NOTHING == without_scheduler(NOTHING) == without_scheduler(written(OURS))


@pytest.mark.parametrize(
    "ours",
    [Frame("[kernel]", "u", "[kernel]"), Frame("bpf_dispatcher_xdp", "k", "[bpf]")],
    ids=["none", "another"],
)
def test_our_own_program_may_have_no_name_of_its_own_yet(ours: Frame) -> None:
    """It was loaded after the kernel's list of symbols was read; such an address elsewhere stays."""
    assert written(KERNEL) == without_scheduler(written(KERNEL + OURS[:-1] + [ours]))
    assert written([*KERNEL, ours]) == without_scheduler(written([*KERNEL, ours]))


def test_a_row_has_the_reason_of_its_stack_and_its_state() -> None:
    """A function of user space says nothing; what is of ``other`` has no reason."""
    in_a_library = [Frame("main", "n", "/bin/a"), Frame("pipe_read", "n", "/bin/a")]
    batch = with_block_reason(
        blocks(
            [
                (USER + KERNEL, SLEEPING, False),
                (USER + KERNEL, 0, False),
                (in_a_library, SLEEPING, False),
                ([], 0, True),
            ]
        )
    )

    rows = list(batch.rows())
    assert ["pipe", "run queue", "other", None] == [row["reason"] for row in rows]
    assert ["interruptible", "runnable", "interruptible", None] == [row["state"] for row in rows]


def test_without_names_there_are_no_columns_of_frames() -> None:
    batch = with_block_reason(blocks([([], 0, False), ([], SLEEPING, False)], named=False))

    assert not set(COLUMNS) & set(batch.columns)
    assert ["run queue", "other"] == batch["reason"].tolist()


def test_the_idle_task_wakes_nobody() -> None:
    """An interrupt does, on its CPU; where nobody was asked for both columns are unknown."""
    columns = {
        "waker_comm": np.array([b"swapper/3", b"python", b""], "S16"),
        "waker_pid": np.array([0, 42, 0], np.uint32),
    }
    batch = with_waker(
        RecordBatch(Schema("offcpu.blocked", tuple(Column(name) for name in columns)), columns)
    )

    assert ["interrupt", "python", None] == batch["waker_comm"].tolist()
    assert [None, 42, None] == batch["waker_pid"].tolist()


def test_the_states_typedef_is_the_columns() -> None:
    """The name that C and Python share."""
    assert "sonde_task_state_t" == STATE
