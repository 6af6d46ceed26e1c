/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Arrays: plain, per CPU, mapped into memory, of text. */
#include "shape.h"

struct statistics {
	u64 sum;
	u32 largest;
	u16 odd;
	s16 least;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 7);
	__type(key, u32);
	__type(value, s64);
} numbers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 3);
	__type(key, u32);
	__type(value, char[24]);
} names SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, u32);
	__type(value, struct statistics);
} per_cpu SEC(".maps");

/* A value that is no multiple of eight bytes: the system call rounds each CPU's up. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 5);
	__type(key, u32);
	__type(value, char[3]);
} per_cpu_text SEC(".maps");

SEC("tc")
int measure(struct __sk_buff *skb)
{
	u32 index, zero = 0;
	struct statistics *here;
	s64 *number;

	for (index = 0; index < 7; index++) {
		u32 at = index;

		number = bpf_map_lookup_elem(&numbers, &at);
		if (number)
			__sync_fetch_and_add(number, -(s64)at);
	}
	here = bpf_map_lookup_elem(&per_cpu, &zero);
	if (here) {
		here->sum += skb->len;
		if (skb->len > here->largest)
			here->largest = skb->len;
		here->odd += skb->len & 1;
		here->least = -(s16)skb->len;
	}
	return TC_ACT_OK;
}
