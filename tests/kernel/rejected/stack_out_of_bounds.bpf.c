// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: stack-bounds
// Writes to its stack at an index that nothing bounds.
#include "rejected.h"

SEC("raw_tp/sys_enter")
int stack_out_of_bounds(void *ctx)
{
	volatile __u8 bytes[16] = {};
	__u32 index = bpf_get_prandom_u32();

	bytes[index] = 1; // rejected
	return bytes[3];
}
