/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Functions and a map for others to link with, and no program. */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, u64);
} shared SEC(".maps");

__noinline int twice(int number)
{
	return number * 2;
}

__noinline int remember(u32 key)
{
	u64 one = 1;

	return bpf_map_update_elem(&shared, &key, &one, BPF_ANY);
}
