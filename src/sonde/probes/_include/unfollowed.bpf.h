/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The program that takes a process out of the map followed when its last thread ends; loaded when children are followed. */
#ifndef SONDE_UNFOLLOWED_BPF_H
#define SONDE_UNFOLLOWED_BPF_H

#include "selection.bpf.h"

/* do_exit() counts the thread out of live before it comes to the tracepoint. */
SEC("tp_btf/sched_process_exit")
int process_exit(u64 *ctx)
{
	struct process process = current_process();
	const struct task_struct *task = process.task;
	u32 pid = process.pid;

	if (BPF_CORE_READ(task, signal, live.counter) == 0 && is_followed(&process))
		bpf_map_delete_elem(&followed, &pid);
	return 0;
}

#endif
