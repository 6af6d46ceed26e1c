/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A block: from the moment that a thread leaves its CPU to the moment that it has one again. */
#ifndef SONDE_OFFCPU_BLOCK_BPF_H
#define SONDE_OFFCPU_BLOCK_BPF_H

#include "accounting.bpf.h"
#include "per_task.bpf.h"
#include "stack.bpf.h"
#include "switch.bpf.h"

KNOB(bool, with_kernel_threads, false, "threads of the kernel, too");
KNOB(bool, with_waker, false, "note who ended the block, and in which stacks");
KNOB(bool, no_blocked, false, "without blocks of threads that could not run");
KNOB(bool, no_preempted, false, "without blocks of threads that could run");
KNOB(u64, duration_min_ns, 0, "only blocks that take at least this long");
KNOB(u64, duration_max_ns, 0, "only blocks that take at most this long; 0: all");

/* seen are blocks that have ended, and at the end of the run those that have not. */
struct blocked_counters {
	u64 seen;
	u64 filtered;
	/* Got a CPU without that the kernel has shown it to us; and did so after we had not seen it leave the one before. */
	u64 lost_untraced;
	u64 lost_unstarted;
	u64 begun;
	u64 ended;
	/* Notes: stacks that are not whole. */
	u64 stacks_truncated;
	u64 stacks_unreadable;
	u64 stacks_full;
};

enum { PROGRAM_SWITCHED, PROGRAM_WAKING, PROGRAM_WALKED, PROGRAMS };

ACCOUNTING(blocked, struct blocked_counters, PROGRAMS);

/* What is known of a thread from the moment when it leaves its CPU. */
struct block {
	/* 0 when it has a CPU; LEFT_OUT when this block does not count. */
	u64 start_ns;
	u64 woken_ns;
	u64 user_stack;
	u64 kernel_stack;
	u64 waker_user_stack;
	u64 waker_kernel_stack;
	/* How often it had got a CPU when we saw it last, and one more; 0: unknown. */
	u32 next_runs;
	u32 waker_pid;
	u8 state;
	u8 in_iowait;
	u8 padding[6];
	char waker_comm[COMM_LENGTH];
};

PER_TASK(blocks, struct block);

/* In the place of a start's time. */
enum { LEFT_OUT = 1 };

/* The bits of a state that are told, and what stands for a state without any of them. */
enum {
	STATE_BITS = 0x4f,
	STATE_OTHER = 0x80,
};

struct task_struct___iowait {
	u32 in_iowait : 1;
} KERNEL_TYPE;

static __always_inline u8 is_in_iowait(const struct task_struct *task)
{
	const struct task_struct___iowait *now = (const void *)task;

	return BPF_CORE_READ_BITFIELD_PROBED(now, in_iowait);
}

/* What does not change while a thread is there; the other questions are asked when it leaves its CPU. */
static __always_inline bool is_thread_selected(const struct process *process)
{
	/* A variable of its own: what is read is looked for in the kernel's types, member by member. */
	const struct task_struct *task = process->task;

	if (!with_kernel_threads && ARGUMENT_READ(task, flags) & PF_KTHREAD)
		return false;
	return is_selected(process);
}

/* When a thread is seen: how often it got a CPU since the last time that we were not shown. */
static __always_inline void count_untraced(struct blocked_counters *counters, const struct block *block, u32 runs)
{
	u32 untraced = untraced_runs(block->next_runs, runs);

	counters->seen += untraced;
	counters->lost_untraced += untraced;
}

static __always_inline u8 state_of(const struct task_struct *task, bool is_runnable)
{
	u8 state;

	if (is_runnable)
		return TASK_STATE_RUNNING;
	state = task_state(task) & STATE_BITS;
	return state ? state : STATE_OTHER;
}

/* Whether the block that is there has begun and counts. */
static __always_inline bool is_begun(const struct block *block)
{
	return block->start_ns > LEFT_OUT;
}

#endif
