// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: helper-not-available
// Calls bpf_xdp_adjust_head, which tracing programs do not have.
#include "rejected.h"

static long (*const bpf_xdp_adjust_head)(void *ctx, int delta) = (void *)44;

SEC("raw_tp/sys_enter")
int helper_not_for_type(void *ctx)
{
	return bpf_xdp_adjust_head(ctx, 4); // rejected
}
