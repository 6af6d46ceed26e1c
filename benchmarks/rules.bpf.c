/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One program for each way to follow, or not to follow, the document's rules (section 1.4); see rules.py. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#define MAP(kind, name)                                                                                                \
	struct {                                                                                                       \
		__uint(type, kind);                                                                                    \
		__uint(max_entries, 10240);                                                                            \
		__type(key, __u32);                                                                                    \
		__type(value, __u64);                                                                                  \
	} name SEC(".maps")

MAP(BPF_MAP_TYPE_HASH, shared);
MAP(BPF_MAP_TYPE_PERCPU_HASH, per_cpu);

/* The key that every run counts; the reader of the results fills the maps with others. */
volatile __u32 pid = 4711;

static __always_inline __u64 *entry(void *map)
{
	__u32 key = pid;
	__u64 zero = 0, *count = bpf_map_lookup_elem(map, &key);

	if (count)
		return count;
	bpf_map_update_elem(map, &key, &zero, BPF_NOEXIST);
	return bpf_map_lookup_elem(map, &key);
}

SEC("tc")
int empty(struct __sk_buff *skb)
{
	return 0;
}

/* As in the document's first program: two CPUs at once, and a count is lost. */
SEC("tc")
int plain(struct __sk_buff *skb)
{
	__u64 *count = entry(&shared);

	if (count)
		(*(volatile __u64 *)count)++;
	return 0;
}

SEC("tc")
int atomic(struct __sk_buff *skb)
{
	__u64 *count = entry(&shared);

	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}

SEC("tc")
int percpu(struct __sk_buff *skb)
{
	__u64 *count = entry(&per_cpu);

	if (count)
		*count += 1;
	return 0;
}

/* Looks up once more than it has to. */
SEC("tc")
int twice(struct __sk_buff *skb)
{
	__u64 *count = entry(&per_cpu);

	if (count)
		*count += 1;
	count = entry(&per_cpu);
	if (count)
		*count += 1;
	return 0;
}

SEC("tc")
int sampled(struct __sk_buff *skb)
{
	__u64 *count;

	if ((__u64)bpf_get_prandom_u32() * 100 >> 32)
		return 0;
	count = entry(&per_cpu);
	if (count)
		*count += 100;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
