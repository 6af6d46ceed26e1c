/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A map as it was written before BTF: libbpf 1.0 and later refuse it. */
#include "shape.h"

struct bpf_map_def {
	u32 type;
	u32 key_size;
	u32 value_size;
	u32 max_entries;
	u32 map_flags;
};

struct bpf_map_def counts SEC("maps") = {
	.type = BPF_MAP_TYPE_HASH,
	.key_size = sizeof(u32),
	.value_size = sizeof(u64),
	.max_entries = 16,
};

SEC("tc")
int count(struct __sk_buff *skb)
{
	u32 zero = 0;

	return bpf_map_lookup_elem(&counts, &zero) ? TC_ACT_SHOT : TC_ACT_OK;
}
