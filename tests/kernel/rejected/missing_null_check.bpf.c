// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: missing-null-check
// Uses what a map look-up returned without looking whether it is NULL.
#include "rejected.h"

struct {
	__uint(type, MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("raw_tp/sys_enter")
int missing_null_check(void *ctx)
{
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	__u64 *count = bpf_map_lookup_elem(&counts, &pid);

	*count += 1; // rejected
	return 0;
}
