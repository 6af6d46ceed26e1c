/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Longest-prefix-match tries, for both kinds of IP address. */
#include "shape.h"

struct prefix4 {
	u32 length_bits;
	u8 address[4];
};

struct prefix6 {
	u32 length_bits;
	u8 address[16];
};

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 5);
	__type(key, struct prefix4);
	__type(value, u32);
} routes4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 64);
	__type(key, struct prefix6);
	__type(value, char[8]);
} routes6 SEC(".maps");

/* Where the packet's first four bytes behind its Ethernet header lead to. */
SEC("tc")
int route(struct __sk_buff *skb)
{
	struct prefix4 key = { .length_bits = 32 };
	u32 *found;

	if (bpf_skb_load_bytes(skb, 14, key.address, 4))
		return -1;
	found = bpf_map_lookup_elem(&routes4, &key);
	return found ? *found : 0;
}
