/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table blocked: how often and how long, by process, thread name, stacks and state. */
#ifndef SONDE_OFFCPU_BLOCKED_BPF_H
#define SONDE_OFFCPU_BLOCKED_BPF_H

#include "block.bpf.h"

struct blocked_key {
	sonde_boottime_ns_t process_start_ns;
	sonde_user_stack_t user_stack;
	sonde_kernel_stack_t kernel_stack;
	sonde_user_stack_t waker_user_stack;
	sonde_kernel_stack_t waker_kernel_stack;
	sonde_pid_t pid;
	/* 0 where nobody is asked for, or nobody was seen. */
	sonde_pid_t waker_pid;
	sonde_thread_name_t comm[COMM_LENGTH];
	sonde_thread_name_t waker_comm[COMM_LENGTH];
	sonde_task_state_t state;
	u8 in_iowait;
	u8 padding[6];
};
_Static_assert(sizeof(struct blocked_key) == 88, "hidden padding");

struct blocked_row {
	/* Of those that are not over when the run ends, unfinished ones, up to its end. */
	u64 count;
	u64 unfinished;
	sonde_duration_ns_t total_ns;
	/* How much of it the threads could have run, and waited for a CPU. */
	sonde_duration_ns_t runqueue_ns;
	/* Of those that are over. Two CPUs may write at once, and the one that lost be left out. */
	sonde_min_ns_t min_ns;
	sonde_max_ns_t max_ns;
	sonde_first_ns_t first_seen_ns;
};
_Static_assert(sizeof(struct blocked_row) == 56, "hidden padding");

enum { ROWS_MAX = 4096 };

STACK_TABLE(blocked, struct blocked_key, struct blocked_row, ROWS_MAX, PROGRAMS);

static __always_inline struct blocked_counters *counters_of(u32 program)
{
	return bpf_map_lookup_elem(&blocked_accounting, &program);
}

/* Both stacks of the current task, which is leaving its CPU. */
static __always_inline void take_stacks(void *ctx, struct blocked_counters *counters, struct block *block,
					const struct task_struct *task, u32 program)
{
	struct generation now = CURRENT_GENERATION(blocked);
	struct stack *scratch = bpf_map_lookup_elem(&blocked_scratch, &program);

	if (!scratch)
		return;
	TAKE_STACKS(ctx, now.stacks, scratch, counters, !(ARGUMENT_READ(task, flags) & PF_KTHREAD), &block->user_stack,
		    &block->kernel_stack);
}

static __always_inline bool is_duration_wanted(u64 duration_ns)
{
	return duration_ns >= duration_min_ns && (!duration_max_ns || duration_ns <= duration_max_ns);
}

static __always_inline struct blocked_row *row_of(const struct process *process, const struct block *block)
{
	struct generation now = CURRENT_GENERATION(blocked);
	const struct task_struct *task = process->task;
	struct blocked_row *row, fresh = { .first_seen_ns = block->start_ns };
	struct blocked_key key = {
		.process_start_ns = process->start_ns,
		.user_stack = block->user_stack,
		.kernel_stack = block->kernel_stack,
		.pid = process->pid,
		.state = block->state,
		.in_iowait = block->in_iowait,
	};
	u32 only = 0;

	if (with_waker && block->woken_ns) {
		key.waker_user_stack = block->waker_user_stack;
		key.waker_kernel_stack = block->waker_kernel_stack;
		key.waker_pid = block->waker_pid;
		__builtin_memcpy(key.waker_comm, block->waker_comm, sizeof(key.waker_comm));
	}
	/* The thread's own name; what is behind its end was there before Linux 6.0. */
	bpf_probe_read_kernel_str(key.comm, sizeof(key.comm), &task->comm);
	row = row_in(now.rows, &key, &fresh);
	return row ? row : bpf_map_lookup_elem(&blocked_other, &only);
}

/* Count a block from its start to a moment; where it is over it counts for the smallest and the largest, too. */
static __always_inline void blocked_add(struct blocked_counters *counters, const struct process *process,
					const struct block *block, u64 end_ns, bool is_over)
{
	/* The clocks of two CPUs may differ by a little. */
	u64 duration_ns = end_ns > block->start_ns ? end_ns - block->start_ns : 1;
	u64 runqueue_ns = block->woken_ns && end_ns > block->woken_ns ? end_ns - block->woken_ns : 0;
	struct blocked_row *row;

	if (!is_duration_wanted(duration_ns)) {
		counters->filtered++;
		return;
	}
	row = row_of(process, block);
	if (!row)
		return;
	if (block->state == TASK_STATE_RUNNING)
		runqueue_ns = duration_ns;
	__sync_fetch_and_add(&row->count, 1);
	__sync_fetch_and_add(&row->total_ns, duration_ns);
	__sync_fetch_and_add(&row->runqueue_ns, runqueue_ns);
	if (!is_over) {
		__sync_fetch_and_add(&row->unfinished, 1);
		return;
	}
	if (!row->min_ns || duration_ns < row->min_ns)
		row->min_ns = duration_ns;
	if (duration_ns > row->max_ns)
		row->max_ns = duration_ns;
}

#endif
