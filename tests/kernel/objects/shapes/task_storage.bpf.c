/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Values that belong to a task and go with it (Linux 5.11). */
#include "shape.h"

struct task_struct {
	int tgid;
} __attribute__((preserve_access_index));

struct usage {
	u64 calls;
	u32 tgid;
	u32 marked;
};

struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct usage);
} usage SEC(".maps");

const volatile u32 target;

SEC("tp_btf/sys_enter")
int count(u64 *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task_btf();
	struct usage *value;

	if (task->tgid != target)
		return 0;
	value = bpf_task_storage_get(&usage, task, 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (value) {
		value->calls++;
		value->tgid = task->tgid;
	}
	return 0;
}
