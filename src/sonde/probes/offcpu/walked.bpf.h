/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Threads that are blocked when the run begins, and those that are when it ends: by iterators over all tasks. */
#ifndef SONDE_OFFCPU_WALKED_BPF_H
#define SONDE_OFFCPU_WALKED_BPF_H

#include "blocked.bpf.h"

/* When the run ended, or was read last. */
u64 end_ns;

static __always_inline u64 stack_of_other(struct blocked_counters *counters, struct task_struct *task, u32 program)
{
	struct generation now = CURRENT_GENERATION(blocked);
	struct stack *scratch = bpf_map_lookup_elem(&blocked_scratch, &program);
	u64 number;
	long size;

	if (!scratch || no_kernel)
		return STACK_NONE;
	size = bpf_get_task_stack(task, scratch->addresses, sizeof(scratch->addresses), 0);
	number = taken_stack(scratch, size);
	number = number ? number : keep_stack(now.stacks, scratch);
	NOTE_STACK(counters, scratch);
	return number;
}

/* Those that are off their CPUs when the run begins are so from its beginning. What ran in user space nobody sees any more. */
SEC("iter/task")
int offcpu_begin(struct bpf_iter__task *ctx)
{
	struct blocked_counters *counters = counters_of(PROGRAM_WALKED);
	struct task_struct *task = ctx->task;
	bool is_runnable;
	struct process process;
	struct block *block;
	u32 runs;

	if (!task || !counters || !active)
		return 0;
	process = process_of(task);
	/* One that has ended waits for nothing, also while its process lives, or its parent has not asked for it. */
	if (!is_thread_selected(&process) || task_state(task) & TASK_STATE_DEAD)
		return 0;
	block = blocks_make(task);
	runs = task_runs(task);
	is_runnable = task_state(task) == TASK_STATE_RUNNING;
	/* Known already: it was switched meanwhile. */
	if (!block || block->next_runs || is_on_cpu(task) || !runs)
		return 0;
	if ((is_runnable ? no_preempted : no_blocked) || !is_task_selected_now(&process)) {
		block->start_ns = LEFT_OUT;
		return 0;
	}
	block->state = state_of(task, is_runnable);
	block->in_iowait = !is_runnable && is_in_iowait(task);
	block->woken_ns = 0;
	block->user_stack = no_user || ARGUMENT_READ(task, flags) & PF_KTHREAD ? STACK_NONE : STACK_BEFORE_US;
	block->kernel_stack = stack_of_other(counters, task, PROGRAM_WALKED);
	counters->begun++;
	block->next_runs = runs + 1;
	block->start_ns = bpf_ktime_get_ns();
	/* It got a CPU while we looked: then all that we know is that we know nothing. */
	if (is_on_cpu(task) || task_runs(task) != runs) {
		block->start_ns = 0;
		block->next_runs = 0;
		counters->ended++;
	}
	return 0;
}

/* While it runs, before each read; and at the end, when nothing is counted any more, once for what has not ended. */
SEC("iter/task")
int offcpu_walk(struct bpf_iter__task *ctx)
{
	struct blocked_counters *counters = counters_of(PROGRAM_WALKED);
	struct task_struct *task = ctx->task;
	struct process process;
	struct block *block;

	if (!task || !counters)
		return 0;
	process = process_of(task);
	if (active) {
		end_ns = bpf_ktime_get_ns();
		if (is_thread_selected(&process))
			blocks_make(task);
		return 0;
	}
	block = blocks_look(task);
	if (!block || !is_begun(block))
		return 0;
	counters->seen++;
	counters->ended++;
	blocked_add(counters, &process, block, end_ns, false);
	block->start_ns = 0;
	return 0;
}

#endif
