/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps of maps: one filled by the compiler, one empty until Python fills it. */
#include "shape.h"

struct counts {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} even SEC(".maps"), odd SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct counts);
} generations SEC(".maps") = {
	.values = { [0] = &even, [1] = &odd },
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, u32);
	__array(values, struct counts);
} by_group SEC(".maps");

u32 generation;

SEC("tc")
int count(struct __sk_buff *skb)
{
	u32 key = generation, length = skb->len;
	void *map = bpf_map_lookup_elem(&generations, &key);
	u64 one = 1, *value;

	if (!map)
		return TC_ACT_SHOT;
	value = bpf_map_lookup_elem(map, &length);
	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(map, &length, &one, BPF_NOEXIST);
	return TC_ACT_OK;
}
