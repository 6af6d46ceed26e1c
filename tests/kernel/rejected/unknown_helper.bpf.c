// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: helper-not-available
// Calls a helper of a number that no kernel has.
#include "rejected.h"

static long (*const bpf_from_the_future)(void *ctx) = (void *)99999;

SEC("raw_tp/sys_enter")
int unknown_helper(void *ctx)
{
	return bpf_from_the_future(ctx); // rejected
}
