// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: memory-bounds
// Indexes a map value with a number that nothing bounds.
#include "rejected.h"

struct table {
	__u64 counts[4];
};

struct {
	__uint(type, MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct table);
} tables SEC(".maps");

SEC("raw_tp/sys_enter")
int map_out_of_bounds(void *ctx)
{
	__u32 zero = 0;
	struct table *table = bpf_map_lookup_elem(&tables, &zero);

	if (!table)
		return 0;
	table->counts[bpf_get_prandom_u32()] = 1; // rejected
	return 0;
}
