// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* The bucket of a duration, as the probes find it: for test runs, whose first argument is the duration. */
#include "kernel.bpf.h"
#include "histogram.bpf.h"

SEC("raw_tp/sys_enter")
int bucket(struct bpf_raw_tracepoint_args *ctx)
{
	return histogram_bucket(ctx->args[0]);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
