/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Perf event arrays, as programs for kernels before 5.8 have them: records of one size, and of any. */
#include "shape.h"

struct record {
	u64 number;
	u32 length;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} fixed SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(u32));
	__uint(value_size, sizeof(u32));
} variable SEC(".maps");

u64 written;
u64 dropped;

SEC("tc")
int write_fixed(struct __sk_buff *skb)
{
	struct record record = { .number = written, .length = skb->len };

	if (bpf_perf_event_output(skb, &fixed, BPF_F_CURRENT_CPU, &record, sizeof(record)))
		__sync_fetch_and_add(&dropped, 1);
	else
		__sync_fetch_and_add(&written, 1);
	return TC_ACT_OK;
}

/* A record, and behind it as much of the packet as there is. */
SEC("tc")
int write_variable(struct __sk_buff *skb)
{
	struct record record = { .number = written, .length = skb->len };
	u64 flags = BPF_F_CURRENT_CPU | (u64)skb->len << 32;

	if (bpf_perf_event_output(skb, &variable, flags, &record, sizeof(record)))
		__sync_fetch_and_add(&dropped, 1);
	else
		__sync_fetch_and_add(&written, 1);
	return TC_ACT_OK;
}
