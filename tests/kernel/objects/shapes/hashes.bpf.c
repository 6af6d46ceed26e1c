/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The four kinds of hash, with keys of all sizes; a program that counts what Python tells it to. */
#include "shape.h"

#define HASH(kind, name, key_type, entries)                                                                            \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_##kind);                                                                     \
		__uint(max_entries, entries);                                                                          \
		__type(key, key_type);                                                                                 \
		__type(value, u64);                                                                                    \
	} name SEC(".maps")

struct flow {
	u32 source;
	u32 target;
	u16 source_port;
	u16 target_port;
	u8 protocol;
	u8 padding[3];
};

HASH(HASH, by_number, u32, 61);
HASH(HASH, by_flow, struct flow, 64);
HASH(LRU_HASH, recent, u64, 64);
HASH(PERCPU_HASH, per_cpu, u32, 64);
HASH(LRU_PERCPU_HASH, recent_per_cpu, u32, 64);

/* Not preallocated: entries are made when they come. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, char[16]);
	__type(value, u8);
} by_name SEC(".maps");

u32 chosen;
struct flow chosen_flow;

static __always_inline void count(void *map, const void *key)
{
	u64 *value = bpf_map_lookup_elem(map, key), one = 1;

	if (value)
		__sync_fetch_and_add(value, 1);
	else
		bpf_map_update_elem(map, key, &one, BPF_NOEXIST);
}

SEC("tc")
int count_all(struct __sk_buff *skb)
{
	u32 number = chosen;
	u64 wide = chosen;
	struct flow flow = chosen_flow;

	count(&by_number, &number);
	count(&by_flow, &flow);
	count(&recent, &wide);
	count(&per_cpu, &number);
	count(&recent_per_cpu, &number);
	return TC_ACT_OK;
}
