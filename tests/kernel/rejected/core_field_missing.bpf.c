// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: core-relocation
// Reads a field of task_struct that no kernel has.
#include "rejected.h"

struct task_struct {
	int colour_of_the_sky;
} __attribute__((preserve_access_index));

static struct task_struct *(*const bpf_get_current_task)(void) = (void *)35;

SEC("raw_tp/sys_enter")
int core_field_missing(void *ctx)
{
	struct task_struct *task = bpf_get_current_task();
	int colour = 0;

	bpf_probe_read_kernel(&colour, sizeof(colour), &task->colour_of_the_sky);
	return colour & 1;
}
