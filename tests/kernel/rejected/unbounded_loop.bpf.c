// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: unbounded-loop
// Loops until a clock says so, which may be never.
#include "rejected.h"

SEC("raw_tp/sys_enter")
int unbounded_loop(void *ctx)
{
	while (bpf_ktime_get_ns() & 1) // rejected
		;
	return 0;
}
