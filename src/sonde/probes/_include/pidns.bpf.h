/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Process and thread numbers as sonde's own pid namespace has them. */
#ifndef SONDE_PIDNS_BPF_H
#define SONDE_PIDNS_BPF_H

#include "kernel.bpf.h"
#include "knob.bpf.h"

/* The kernel's MAX_PID_NS_LEVEL: a pid has a number on each level, and namespaces nest no deeper. */
enum { PIDNS_LEVEL_MAX = 32 };

KNOB(u32, pidns_inum, 0, "pid namespace whose numbers to use, by inode; 0: the initial one");

/* The number of a struct pid in that namespace, 0 outside of it. From the deepest level: mostly it is that one. */
static __always_inline u32 pidns_number(const struct pid *pid)
{
	u32 level = BPF_CORE_READ(pid, level);
	const char *numbers = (const char *)pid + bpf_core_field_offset(pid->numbers);

	for (u32 step = 0; step <= PIDNS_LEVEL_MAX; step++) {
		const struct upid *upid = (const void *)(numbers + (u64)level * bpf_core_type_size(struct upid));

		if (BPF_CORE_READ(upid, ns, ns.inum) == pidns_inum)
			return BPF_CORE_READ(upid, nr);
		if (level == 0)
			break;
		level--;
	}
	return 0;
}

static __always_inline u32 pidns_pid(struct task_struct *task)
{
	if (!pidns_inum)
		return TASK_READ(task, tgid);
	return pidns_number(BPF_CORE_READ(task, group_leader, thread_pid));
}

static __always_inline u32 pidns_tid(struct task_struct *task)
{
	if (!pidns_inum)
		return TASK_READ(task, pid);
	return pidns_number(BPF_CORE_READ(task, thread_pid));
}

#endif
