// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: write-forbidden
// Writes to a constant, which lives in a map that is frozen.
#include "rejected.h"

const volatile __u64 limit = 7;

SEC("raw_tp/sys_enter")
int write_to_constant(void *ctx)
{
	*(volatile __u64 *)&limit = 8; // rejected
	return 0;
}
