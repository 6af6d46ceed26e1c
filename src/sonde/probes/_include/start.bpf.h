/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a task has begun and not ended, from the program at its beginning to the program at its end. It is kept in the
 * task's own storage, which costs a third of a hash and goes with the task.
 *
 * Where tracing programs cannot have task storage (before Linux 5.12, a10787e6d58c) it is a hash by the task's address:
 * the thread's number would change when a thread that is not the leader calls exec. Entries are used again and again;
 * task_exit, loaded only there, deletes them. Of the two maps one is left out when the object is loaded.
 */
#ifndef SONDE_START_BPF_H
#define SONDE_START_BPF_H

#include "kernel.bpf.h"
#include "knob.bpf.h"

KNOB(bool, starts_in_task_storage, true, "false where task storage is for LSM programs only");

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

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct start);
} starts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32768);
	__type(key, u64);
	__type(value, struct start);
} starts_by_task SEC(".maps");

static const struct start start_none;

static __always_inline struct start *find_start(struct task_struct *task)
{
	u64 address = (u64)task;

	if (starts_in_task_storage)
		return bpf_task_storage_get(&starts, task, NULL, 0);
	return bpf_map_lookup_elem(&starts_by_task, &address);
}

/* NULL when there is no room, or (task storage) when the kernel is in the middle of changing this task's storage. */
static __always_inline struct start *make_start(struct task_struct *task)
{
	u64 address = (u64)task;
	struct start *start;

	if (starts_in_task_storage)
		return bpf_task_storage_get(&starts, task, NULL, BPF_LOCAL_STORAGE_GET_F_CREATE);
	start = bpf_map_lookup_elem(&starts_by_task, &address);
	if (start)
		return start;
	bpf_map_update_elem(&starts_by_task, &address, &start_none, BPF_ANY);
	return bpf_map_lookup_elem(&starts_by_task, &address);
}

SEC("tp_btf/sched_process_exit")
int task_exit(u64 *ctx)
{
	u64 address = (u64)current_task();

	bpf_map_delete_elem(&starts_by_task, &address);
	return 0;
}

#endif
