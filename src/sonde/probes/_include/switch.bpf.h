/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What sched_switch tells of the task that is leaving its CPU. */
#ifndef SONDE_SWITCH_BPF_H
#define SONDE_SWITCH_BPF_H

#include "task.bpf.h"

/* include/linux/sched.h; not in BTF, since they are macros. These have been the same since Linux 4.14. */
enum {
	TASK_STATE_RUNNING = 0x00,
	TASK_STATE_DEAD = 0x80,
};

/* Linux 5.14 has renamed it, and made it shorter (2f064a59a11f). */
struct task_struct___before_5_14 {
	long state;
} KERNEL_TYPE;

struct task_struct___state {
	u32 __state;
} KERNEL_TYPE;

/*
 * The state of the task as it is now. The hook's own argument prev_state is newer than Linux 5.17, and up to 6.13 it is
 * not what the scheduler went by when a signal was pending (8feb053d5319). A waker that is early may have written
 * TASK_WAKING here, which is not running either.
 */
static __always_inline u32 task_state(const struct task_struct *task)
{
	const struct task_struct___before_5_14 *before = (const void *)task;
	const struct task_struct___state *now = (const void *)task;

	if (bpf_core_field_exists(now->__state))
		return ARGUMENT_READ(now, __state);
	return ARGUMENT_READ(before, state);
}

/* Where the kernel is built with CONFIG_SCHED_INFO, as distributions' are. */
struct sched_info {
	unsigned long pcount;
} KERNEL_TYPE;

struct task_struct___sched_info {
	struct sched_info sched_info;
} KERNEL_TYPE;

/*
 * How often a task has got a CPU, without this time where it gets one just now. It tells which switches were not shown to us:
 * there are kernels that leave some out (of guests: README.md of runqueue). 0 where the kernel does not count them.
 */
static __always_inline u32 task_runs(const struct task_struct *task)
{
	const struct task_struct___sched_info *now = (const void *)task;

	return bpf_core_field_exists(now->sched_info) ? ARGUMENT_READ(now, sched_info.pcount) : 0;
}

/*
 * How often a task has got a CPU that we were not shown: next_runs is what task_runs() was to be when we saw it next, and one
 * more; 0: unknown.
 */
static __always_inline u32 untraced_runs(u32 next_runs, u32 runs)
{
	return next_runs && runs + 1 > next_runs ? runs + 1 - next_runs : 0;
}

/* Whether a task that leaves its CPU goes on waiting for one: preempted, also on its way to sleep, or yielding. */
static __always_inline bool stays_runnable(const struct task_struct *task, bool is_preempted)
{
	return is_preempted || task_state(task) == TASK_STATE_RUNNING;
}

/* A byte since Linux 7, and on kernels for one processor there is none of it. */
struct task_struct___on_cpu {
	s32 on_cpu;
} KERNEL_TYPE;

/* Whether a task has a CPU. It may be woken then: it has said that it will sleep, and has not gone to yet. */
static __always_inline bool is_on_cpu(const struct task_struct *task)
{
	const struct task_struct___on_cpu *now = (const void *)task;
	s32 on_cpu = 0;

	if (bpf_core_field_exists(now->on_cpu))
		bpf_probe_read_kernel(&on_cpu, bpf_core_field_size(now->on_cpu), &now->on_cpu);
	return on_cpu;
}

#endif
