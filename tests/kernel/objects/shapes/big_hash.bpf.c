/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps of 100,000 entries: reading them takes many batches, and more room than was thought at first. */
#include "shape.h"

enum { MANY = 100000 };

struct pair {
	u64 first;
	u32 second;
	u32 third;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, MANY);
	__type(key, u32);
	__type(value, struct pair);
} many SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, MANY);
	__type(key, u64);
	__type(value, u32);
} many_recent SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, MANY);
	__type(key, u32);
	__type(value, u64);
} many_slots SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, MANY);
	__type(key, u32);
	__type(value, u32);
} many_per_cpu SEC(".maps");

struct route {
	u32 length_bits;
	u8 address[4];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, MANY);
	__type(key, struct route);
	__type(value, u32);
} many_routes SEC(".maps");

SEC("tc")
int pass(struct __sk_buff *skb)
{
	return TC_ACT_OK;
}
