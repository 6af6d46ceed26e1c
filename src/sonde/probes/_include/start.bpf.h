/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a task has begun and not ended, from the program at its beginning to the program at its end: a value for each task.
 *
 * Where it is a hash, its key is the task's address, for the thread's number would change when a thread that is not the leader
 * calls exec. Entries are used again and again; task_exit, loaded only there, deletes them.
 */
#ifndef SONDE_START_BPF_H
#define SONDE_START_BPF_H

#include "per_task.bpf.h"

struct start {
	/* 0 when nothing has begun. */
	u64 time_ns;
	u32 syscall;
	u8 abi;
	u8 has_arguments;
	u8 padding[2];
	u64 arguments[6];
};
_Static_assert(sizeof(struct start) == 64, "hidden padding");

PER_TASK(starts, struct start);

SEC("tp_btf/sched_process_exit")
int task_exit(u64 *ctx)
{
	starts_forget(current_task());
	return 0;
}

#endif
