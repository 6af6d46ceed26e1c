// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Iterators that write what they walk over: the reader knows it from elsewhere. */
#include "counter.h"

struct bpf_iter_meta {
	struct seq_file *seq;
} __attribute__((preserve_access_index));

struct task_struct {
	int pid;
} __attribute__((preserve_access_index));

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} __attribute__((preserve_access_index));

struct bpf_iter__bpf_map_elem {
	struct bpf_iter_meta *meta;
	void *key;
	void *value;
} __attribute__((preserve_access_index));

struct kernfs_node {
	__u64 id;
} __attribute__((preserve_access_index));

struct cgroup {
	struct kernfs_node *kn;
} __attribute__((preserve_access_index));

struct bpf_iter__cgroup {
	struct bpf_iter_meta *meta;
	struct cgroup *cgroup;
} __attribute__((preserve_access_index));

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, __u64);
} numbers SEC(".maps");

SEC("?iter/task")
int tasks(struct bpf_iter__task *context)
{
	struct task_struct *task = context->task;
	__u32 tid;

	if (!task)
		return 0;
	tid = task->pid;
	bpf_seq_write(context->meta->seq, &tid, sizeof(tid));
	return 0;
}

SEC("?iter/bpf_map_elem")
int entries(struct bpf_iter__bpf_map_elem *context)
{
	__u32 *key = context->key;
	__u64 *value = context->value;

	if (!key || !value)
		return 0;
	bpf_seq_write(context->meta->seq, key, sizeof(*key));
	bpf_seq_write(context->meta->seq, value, sizeof(*value));
	return 0;
}

SEC("?iter/cgroup")
int cgroups(struct bpf_iter__cgroup *context)
{
	struct cgroup *cgroup = context->cgroup;
	__u64 id;

	if (!cgroup)
		return 0;
	id = cgroup->kn->id;
	bpf_seq_write(context->meta->seq, &id, sizeof(id));
	return 0;
}
