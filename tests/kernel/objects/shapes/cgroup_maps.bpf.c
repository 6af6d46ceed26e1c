/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* An array of cgroups to compare with, and the old storages of an attached program. */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_ARRAY);
	__uint(max_entries, 2);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} cgroups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, u64);
} shared SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE);
	__type(key, struct bpf_cgroup_storage_key);
	__type(value, u64);
} per_cpu SEC(".maps");

SEC("cgroup_skb/egress")
int sent(struct __sk_buff *skb)
{
	u64 *all = bpf_get_local_storage(&shared, 0), *here = bpf_get_local_storage(&per_cpu, 0);

	__sync_fetch_and_add(all, 1);
	*here += 1;
	return 1;
}

/* Whether the process that makes the call is below the first cgroup of the array. */
u64 inside;
u64 outside;
const volatile u32 target;

SEC("raw_tp/sys_enter")
int compare(void *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 != target)
		return 0;
	__sync_fetch_and_add(bpf_current_task_under_cgroup(&cgroups, 0) == 1 ? &inside : &outside, 1);
	return 0;
}
