/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The program that fills the map followed: a process that one in it starts is in it before its first instruction. It is
 * loaded only when children are followed. Who ended is taken out by unfollowed.bpf.h, or by a probe that tells of ends.
 */
#ifndef SONDE_FOLLOWED_BPF_H
#define SONDE_FOLLOWED_BPF_H

#include "selection.bpf.h"

/* Processes that should have been followed and were not, because the map was full. */
u64 unfollowed;

/* A child is still unknown to everybody else when this runs: the tracepoint comes before wake_up_new_task. */
SEC("tp_btf/sched_process_fork")
int process_fork(u64 *ctx)
{
	const struct task_struct *child = (const void *)ctx[1];
	struct process parent = current_process();
	u64 start_ns;
	u32 pid;

	/* A new thread, not a new process. */
	if (BPF_CORE_READ(child, pid) != BPF_CORE_READ(child, tgid))
		return 0;
	if (!is_followed(&parent))
		return 0;
	pid = pidns_inum ? pidns_number(BPF_CORE_READ(child, thread_pid)) : BPF_CORE_READ(child, tgid);
	start_ns = BPF_CORE_READ(child, start_boottime);
	if (bpf_map_update_elem(&followed, &pid, &start_ns, BPF_ANY))
		__sync_fetch_and_add(&unfollowed, 1);
	return 0;
}

#endif
