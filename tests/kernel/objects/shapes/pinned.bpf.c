/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A map that outlives the object: found again by its name in a BPF file system. */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
	__type(key, u32);
	__type(value, u64);
} lasting SEC(".maps");

SEC("tc")
int count(struct __sk_buff *skb)
{
	u32 zero = 0;
	u64 *value = bpf_map_lookup_elem(&lasting, &zero);

	if (value)
		__sync_fetch_and_add(value, 1);
	return TC_ACT_OK;
}
