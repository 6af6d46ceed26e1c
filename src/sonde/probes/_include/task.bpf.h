/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Tasks that a tracepoint is about and that need not be the current one: of the scheduler's hooks, mostly. Whose they are,
 * and whether they are selected; selection.bpf.h asks the same of the current task.
 */
#ifndef SONDE_TASK_BPF_H
#define SONDE_TASK_BPF_H

#include "selection.bpf.h"

KNOB(bool, tasks_are_typed, true, "false in raw tracepoints, whose arguments are mere numbers to the verifier");

/* The cgroup that only_cgroup selects, by its inode; Python writes it before anything counts. */
volatile u64 only_cgroup_id;

/* A field of a task that is a hook's argument: a plain load where the verifier knows its type, else a probe read. */
#define ARGUMENT_READ(task, field) (tasks_are_typed ? (task)->field : BPF_CORE_READ(task, field))

/* Levels of cgroups that are looked at, from a task's own upwards. */
enum { CGROUP_LEVELS = 64 };

/* Up to Linux 6.0 a cgroup had its ancestors' numbers, since then it points to them (7f203bc89eb6). */
struct cgroup___numbers {
	u64 ancestor_ids[1];
} KERNEL_TYPE;

struct cgroup___ancestors {
	struct cgroup *ancestors[1];
} KERNEL_TYPE;

static __always_inline bool is_idle_task(const struct task_struct *task)
{
	/* Each CPU has one, and all are number 0. */
	return ARGUMENT_READ(task, pid) == 0;
}

static __always_inline struct process process_of(struct task_struct *task)
{
	return (struct process){
		.task = task,
		.start_ns = tasks_are_typed ? task->group_leader->start_boottime :
					      BPF_CORE_READ(task, group_leader, start_boottime),
		.pid = pidns_inum ? pidns_number(BPF_CORE_READ(task, group_leader, thread_pid)) :
				    ARGUMENT_READ(task, tgid),
	};
}

static __always_inline u64 cgroup_ancestor_id(const struct cgroup *cgroup, u64 level)
{
	const struct cgroup *ancestor = NULL;
	u64 id = 0;

	if (bpf_core_field_exists(((struct cgroup___ancestors *)0)->ancestors)) {
		const struct cgroup___ancestors *now = (const void *)cgroup;
		const char *ancestors = (const char *)cgroup + bpf_core_field_offset(now->ancestors);

		bpf_probe_read_kernel(&ancestor, sizeof(ancestor), ancestors + level * sizeof(ancestor));
		return BPF_CORE_READ(ancestor, kn, id);
	}
	const struct cgroup___numbers *then = (const void *)cgroup;
	const char *numbers = (const char *)cgroup + bpf_core_field_offset(then->ancestor_ids);

	bpf_probe_read_kernel(&id, sizeof(id), numbers + level * sizeof(id));
	return id;
}

/* What bpf_current_task_under_cgroup() says of the current task. */
static __always_inline bool is_below_cgroup(const struct task_struct *task)
{
	const struct cgroup *cgroup = BPF_CORE_READ(task, cgroups, dfl_cgrp);
	u64 level = BPF_CORE_READ(cgroup, level);

	for (u32 step = 0; step < CGROUP_LEVELS; step++) {
		if (cgroup_ancestor_id(cgroup, level) == only_cgroup_id)
			return true;
		if (level == 0)
			break;
		level--;
	}
	return false;
}

/* is_selected_now() of selection.bpf.h for any task. */
static __always_inline bool is_task_selected_now(const struct process *process)
{
	if (only_comm && !has_comm(process))
		return false;
	return !only_cgroup || is_below_cgroup(process->task);
}

#endif
