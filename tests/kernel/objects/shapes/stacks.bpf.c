/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Stack traces, kept by their numbers. */
#include "shape.h"

enum { DEPTH_MAX = 127 };

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, sizeof(u32));
	__uint(value_size, DEPTH_MAX * sizeof(u64));
} stacks SEC(".maps");

s64 last = -1;
const volatile u32 target;

SEC("raw_tp/sys_enter")
int keep(void *ctx)
{
	s64 found;

	if (bpf_get_current_pid_tgid() >> 32 != target)
		return 0;
	found = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	if (found >= 0)
		last = found;
	return 0;
}
