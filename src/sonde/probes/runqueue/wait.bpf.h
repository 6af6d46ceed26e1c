/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A wait: from the moment that a thread could run to the moment that it does. */
#ifndef SONDE_RUNQUEUE_WAIT_BPF_H
#define SONDE_RUNQUEUE_WAIT_BPF_H

#include "accounting.bpf.h"
#include "per_task.bpf.h"
#include "sampling.bpf.h"
#include "switch.bpf.h"

/* seen are the times that a thread got a CPU; begun and ended are waits with a beginning. */
struct waits_counters {
	u64 seen;
	u64 filtered;
	u64 sampled_out;
	u64 thinned_out;
	/* Got a CPU without that the kernel has shown it to us. */
	u64 lost_untraced;
	u64 begun;
	u64 ended;
	/* Notes: waits that others stand for; waits of threads that have no storage. */
	u64 represented;
	u64 start_failed;
};

enum { PROGRAM_SWITCHED, PROGRAM_WOKEN, PROGRAM_WOKEN_NEW, PROGRAMS };

ACCOUNTING(waits, struct waits_counters, PROGRAMS);

struct waiting {
	/* 0 when it is not waiting. */
	u64 start_ns;
	/* How often it had got a CPU when the wait began: one that is not so any more has ended unseen. */
	u32 start_runs;
	/* How often it will have got one when it gets the next, and one more; 0: unknown. */
	u32 next_runs;
};

PER_TASK(waiting, struct waiting);

/* In the place of a start's time: the wait is left out. */
enum { SAMPLED_OUT = 1, THINNED_OUT = 2 };

struct wait {
	struct process process;
	u64 duration_ns;
	/* How many waits it counts for. */
	u64 weight;
};

static __always_inline void wait_begins(struct waits_counters *counters, struct task_struct *task, u64 now_ns)
{
	struct process process = process_of(task);
	struct waiting *waiting;
	u32 runs;

	if (!is_selected(&process) || !is_task_selected_now(&process))
		return;
	waiting = waiting_find(task);
	if (!waiting) {
		counters->start_failed++;
		return;
	}
	runs = task_runs(task);
	/* It was preempted on its way to sleep, and now it is woken: it has been waiting all the time. */
	if (waiting->start_ns && waiting->start_runs == runs)
		return;
	if (!waiting->start_ns)
		counters->begun++;
	waiting->start_runs = runs;
	waiting->start_ns = is_sampled_out()		      ? SAMPLED_OUT :
			    is_thinned_out(counters->begun) ? THINNED_OUT :
							      now_ns;
}

/* Whether to count a wait whose beginning was selected: what its thread was then holds, whatever it is called now. */
static __always_inline bool wait_ends_seen(struct waits_counters *counters, struct wait *wait, u64 start_ns, u64 now_ns)
{
	counters->ended++;
	if (unlikely(start_ns <= THINNED_OUT)) {
		*(start_ns == SAMPLED_OUT ? &counters->sampled_out : &counters->thinned_out) += 1;
		return false;
	}
	wait->weight = event_weight(&counters->thinned_out, &counters->represented);
	/* The clocks of two CPUs may differ by a little. */
	wait->duration_ns = now_ns > start_ns ? now_ns - start_ns : 0;
	return true;
}

/* Whether to count a wait that has no beginning: it was there before us, or the thread has no storage. */
static __always_inline bool wait_ends_unseen(struct waits_counters *counters, struct wait *wait)
{
	if (!is_task_selected_now(&wait->process)) {
		counters->filtered++;
		return false;
	}
	if (is_sampled_out()) {
		counters->sampled_out++;
		return false;
	}
	if (is_thinned_out(counters->seen)) {
		counters->thinned_out++;
		return false;
	}
	wait->weight = event_weight(&counters->thinned_out, &counters->represented);
	wait->duration_ns = DURATION_UNKNOWN;
	return true;
}

/* When a thread gets a CPU: how often it got one since the last time, or its fork, that we were not shown. */
static __always_inline void count_untraced(struct waits_counters *counters, struct waiting *waiting, u32 runs)
{
	u32 untraced = untraced_runs(waiting->next_runs, runs);

	counters->seen += untraced;
	counters->lost_untraced += untraced;
	waiting->next_runs = runs + 2;
}

/* Whether to count the wait that ends here. */
static __always_inline bool wait_ends(struct waits_counters *counters, struct wait *wait, u64 now_ns)
{
	struct waiting *waiting;
	u64 start_ns;
	u32 runs;

	counters->seen++;
	/* A process that ends is followed no more; a wait that had begun is its own all the same. */
	waiting = only_followed ? waiting_look(wait->process.task) : NULL;
	if (!(waiting && waiting->start_ns) && !is_selected(&wait->process)) {
		counters->filtered++;
		return false;
	}
	waiting = waiting_find(wait->process.task);
	if (unlikely(!waiting))
		return wait_ends_unseen(counters, wait);
	runs = task_runs(wait->process.task);
	count_untraced(counters, waiting, runs);
	start_ns = waiting->start_ns;
	if (unlikely(!start_ns))
		return wait_ends_unseen(counters, wait);
	waiting->start_ns = 0;
	if (unlikely(waiting->start_runs != runs)) {
		counters->ended++;
		return wait_ends_unseen(counters, wait);
	}
	return wait_ends_seen(counters, wait, start_ns, now_ns);
}

#endif
