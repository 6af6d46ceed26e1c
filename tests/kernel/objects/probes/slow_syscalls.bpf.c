// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A classic tracepoint's program that takes long: while it runs the kernel skips programs of perf events on that CPU. */
#include "types.bpf.h"
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

u64 calls;

SEC("tracepoint/raw_syscalls/sys_enter")
int each_call(void *ctx)
{
	for (u32 i = 0; i < 2000; i++)
		__sync_fetch_and_add(&calls, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
