/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A Bloom filter (Linux 5.16). */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_BLOOM_FILTER);
	__uint(max_entries, 1000);
	__uint(map_extra, 3);
	__type(value, u32);
} known SEC(".maps");

SEC("tc")
int ask(struct __sk_buff *skb)
{
	u32 mark = skb->mark;

	return bpf_map_peek_elem(&known, &mark) ? TC_ACT_SHOT : TC_ACT_OK;
}
