// SPDX-License-Identifier: BSD-2-Clause
// kind: needs-gpl
// Calls a helper that the kernel gives to GPL-compatible programs only.
#define REJECTED_LICENSE "BSD"
#include "rejected.h"

SEC("raw_tp/sys_enter")
int helper_needs_gpl(void *ctx)
{
	__u64 word = 0;

	bpf_probe_read_kernel(&word, sizeof(word), ctx); // rejected
	return word & 1;
}
