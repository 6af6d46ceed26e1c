/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A program for a tracepoint that no kernel has, beside one for a tracepoint that all have. */
#include "kernel.bpf.h"

SEC("tp_btf/no_such_tracepoint")
int lost(u64 *ctx)
{
	return 0;
}

SEC("tp_btf/task_rename")
int kept(u64 *ctx)
{
	return 0;
}

char licence[] SEC("license") = "GPL";
