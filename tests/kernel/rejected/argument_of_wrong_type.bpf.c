// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: argument-type
// Gives a map look-up a number where it wants the address of a key.
#include "rejected.h"

struct {
	__uint(type, MAP_TYPE_HASH);
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("raw_tp/sys_enter")
int argument_of_wrong_type(void *ctx)
{
	return bpf_map_lookup_elem(&counts, (void *)bpf_get_current_pid_tgid()) != 0; // rejected
}
