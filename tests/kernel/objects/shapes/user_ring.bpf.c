/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A ring that user space writes and a program drains (Linux 6.1). */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_USER_RINGBUF);
	__uint(max_entries, 4096);
} orders SEC(".maps");

u64 drained;
u64 sum;

static long take(struct bpf_dynptr *order, void *context)
{
	u64 number;

	if (bpf_dynptr_read(&number, sizeof(number), order, 0, 0))
		return 1;
	sum += number;
	return 0;
}

SEC("syscall")
int drain(void *ctx)
{
	long count = bpf_user_ringbuf_drain(&orders, take, 0, 0);

	if (count < 0)
		return 1;
	drained += count;
	return 0;
}
