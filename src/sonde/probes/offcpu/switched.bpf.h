/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a thread leaves its CPU, where it is woken, and where it gets one. */
#ifndef SONDE_OFFCPU_SWITCHED_BPF_H
#define SONDE_OFFCPU_SWITCHED_BPF_H

#include "blocked.bpf.h"

static __always_inline void leaves(void *ctx, struct blocked_counters *counters, struct task_struct *task,
				   bool is_preempted, u64 now_ns)
{
	bool is_runnable = stays_runnable(task, is_preempted);
	struct process process = process_of(task);
	struct block *block;
	u32 runs;

	if (!is_runnable && task_state(task) & TASK_STATE_DEAD) {
		block = blocks_look(task);
		/* We were not shown its end. */
		if (block && is_begun(block))
			counters->ended++;
		blocks_forget(task);
		return;
	}
	if (!is_thread_selected(&process))
		return;
	block = blocks_find(task);
	if (!block)
		return;
	runs = task_runs(task);
	count_untraced(counters, block, runs);
	block->next_runs = runs + 1;
	/* We were not shown its end. */
	if (is_begun(block))
		counters->ended++;
	block->start_ns = LEFT_OUT;
	if ((is_runnable ? no_preempted : no_blocked) || !is_task_selected_now(&process))
		return;
	block->state = state_of(task, is_runnable);
	block->in_iowait = !is_runnable && is_in_iowait(task);
	block->woken_ns = 0;
	take_stacks(ctx, counters, block, task, PROGRAM_SWITCHED);
	counters->begun++;
	/* It is off its CPU while its stacks are taken, too. */
	block->start_ns = now_ns;
}

static __always_inline void comes(struct blocked_counters *counters, struct task_struct *task, u64 now_ns)
{
	struct process process = process_of(task);
	struct block *block, ended;
	u32 runs;

	runs = task_runs(task);
	/* A new thread: it has not been blocked anywhere. */
	if (!runs)
		return;
	counters->seen++;
	/* A process that ends is followed no more; a block that had begun is its own all the same. */
	block = only_followed ? blocks_look(task) : NULL;
	if (!(block && is_begun(block)) && !is_thread_selected(&process)) {
		counters->filtered++;
		return;
	}
	block = blocks_find(task);
	if (!block) {
		*(is_task_selected_now(&process) ? &counters->lost_unstarted : &counters->filtered) += 1;
		return;
	}
	ended = *block;
	count_untraced(counters, block, runs);
	block->start_ns = 0;
	block->next_runs = runs + 2;
	if (!ended.start_ns) {
		*(is_task_selected_now(&process) ? &counters->lost_unstarted : &counters->filtered) += 1;
		return;
	}
	if (!is_begun(&ended)) {
		counters->filtered++;
		return;
	}
	counters->ended++;
	/* It has had a CPU meanwhile. */
	if (ended.next_runs && ended.next_runs != runs + 1) {
		counters->lost_unstarted++;
		return;
	}
	blocked_add(counters, &process, &ended, now_ns, true);
}

SEC("tp_btf/sched_switch")
int offcpu_switched(u64 *ctx)
{
	struct task_struct *prev = (void *)ctx[1], *next = (void *)ctx[2];
	bool is_preempted = ctx[0];
	struct blocked_counters *counters;
	u64 now_ns;

	if (!active)
		return 0;
	counters = counters_of(PROGRAM_SWITCHED);
	if (!counters)
		return 0;
	now_ns = bpf_ktime_get_ns();
	if (!is_idle_task(next))
		comes(counters, next, now_ns);
	if (!is_idle_task(prev))
		leaves(ctx, counters, prev, is_preempted, now_ns);
	return 0;
}

/* In the one that wakes, also where the other one is on another CPU, which is where sched_wakeup may be. */
SEC("tp_btf/sched_waking")
int offcpu_waking(u64 *ctx)
{
	struct task_struct *task = (void *)ctx[0], *waker;
	struct blocked_counters *counters;
	struct generation now;
	struct stack *scratch;
	struct block *block;
	u32 program = PROGRAM_WAKING;

	if (!active)
		return 0;
	block = blocks_look(task);
	if (!block || !is_begun(block) || block->state == TASK_STATE_RUNNING)
		return 0;
	if (with_waker) {
		counters = counters_of(program);
		scratch = bpf_map_lookup_elem(&blocked_scratch, &program);
		if (!counters || !scratch)
			return 0;
		now = CURRENT_GENERATION(blocked);
		waker = current_task();
		block->waker_pid = pidns_pid(waker);
		bpf_get_current_comm(block->waker_comm, sizeof(block->waker_comm));
		TAKE_STACKS(ctx, now.stacks, scratch, counters, has_user_stack(waker), &block->waker_user_stack,
			    &block->waker_kernel_stack);
	}
	block->woken_ns = bpf_ktime_get_ns();
	return 0;
}

/* A child is still unknown to everybody else when this runs, and nothing is locked. */
SEC("tp_btf/sched_process_fork")
int offcpu_forked(u64 *ctx)
{
	blocks_make((struct task_struct *)ctx[1]);
	return 0;
}

#endif
