/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A queue and a stack: values without keys. */
#include "shape.h"

struct job {
	u32 number;
	char name[12];
};

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, 3);
	__type(value, struct job);
} jobs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_STACK);
	__uint(max_entries, 3);
	__type(value, u64);
} plates SEC(".maps");

/* Moves the oldest job's number onto the stack. */
SEC("tc")
int work(struct __sk_buff *skb)
{
	struct job job;
	u64 number;

	if (bpf_map_pop_elem(&jobs, &job))
		return TC_ACT_SHOT;
	number = job.number;
	return bpf_map_push_elem(&plates, &number, BPF_ANY) ? TC_ACT_SHOT : TC_ACT_OK;
}
