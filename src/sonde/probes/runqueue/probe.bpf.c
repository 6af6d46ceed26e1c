// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * How long threads that could run wait for a CPU.
 *
 * A wait begins when a thread is woken (runqueue_woken, runqueue_woken_new), or when it leaves its CPU and could go on; it ends
 * when it gets a CPU (runqueue_switched). What is known of a thread is made by runqueue_forked and runqueue_prepare, and
 * process_fork and process_exit follow children. All but the iterator also load as raw tracepoints.
 */
#include "followed.bpf.h"
#include "unfollowed.bpf.h"
#include "waits.bpf.h"

static __always_inline struct waits_counters *counters_of(u32 program)
{
	return active ? bpf_map_lookup_elem(&waits_accounting, &program) : NULL;
}

static __always_inline int woken(struct task_struct *task, u32 program)
{
	struct waits_counters *counters = counters_of(program);

	if (counters && !is_on_cpu(task))
		wait_begins(counters, task, bpf_ktime_get_ns());
	return 0;
}

SEC("tp_btf/sched_wakeup")
int runqueue_woken(u64 *ctx)
{
	return woken((void *)ctx[0], PROGRAM_WOKEN);
}

SEC("tp_btf/sched_wakeup_new")
int runqueue_woken_new(u64 *ctx)
{
	return woken((void *)ctx[0], PROGRAM_WOKEN_NEW);
}

/* One moment for both: what we do meanwhile is in the wait of the one that goes, and the scheduler counts it there, too. */
SEC("tp_btf/sched_switch")
int runqueue_switched(u64 *ctx)
{
	struct task_struct *prev = (void *)ctx[1], *next = (void *)ctx[2];
	struct waits_counters *counters = counters_of(PROGRAM_SWITCHED);
	bool is_preempted = ctx[0];
	u64 now_ns;

	if (!counters)
		return 0;
	now_ns = bpf_ktime_get_ns();
	if (!is_idle_task(next)) {
		struct wait wait = { .process = process_of(next) };

		if (wait_ends(counters, &wait, now_ns))
			waits_add(&wait);
	}
	if (is_idle_task(prev))
		return 0;
	if (stays_runnable(prev, is_preempted))
		wait_begins(counters, prev, now_ns);
	else if (!in_task_storage && task_state(prev) & TASK_STATE_DEAD)
		waiting_forget(prev);
	return 0;
}

/* A child is still unknown to everybody else when this runs, and nothing is locked. */
SEC("tp_btf/sched_process_fork")
int runqueue_forked(u64 *ctx)
{
	struct waiting *waiting = waiting_make((struct task_struct *)ctx[1]);

	/* It has not had a CPU yet. */
	if (waiting)
		waiting->next_runs = 1;
	return 0;
}

/* Threads that were there before us, and those that begin without a fork that is told: of io_uring, of vhost. */
SEC("iter/task")
int runqueue_prepare(struct bpf_iter__task *ctx)
{
	struct task_struct *task = ctx->task;

	if (task)
		waiting_make(task);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
