/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A variable of the kernel, one for each CPU, by BTF (Linux 5.11, CONFIG_KALLSYMS_ALL). */
#include "shape.h"

struct rq {
	int cpu;
} __attribute__((preserve_access_index));

extern const struct rq runqueues __ksym;

s32 first_cpu = -1;
s32 cpu_here = -1;

SEC("raw_tp/sys_enter")
int look(void *ctx)
{
	struct rq *first = bpf_per_cpu_ptr(&runqueues, 0), *here = bpf_this_cpu_ptr(&runqueues);

	if (first)
		first_cpu = first->cpu;
	cpu_here = here->cpu;
	return 0;
}
