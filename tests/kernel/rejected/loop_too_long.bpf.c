// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: too-complex
// slow: a log of 100 MB, minutes under emulation; a golden log only.
// Loops a number of times that is bounded, but beyond what the verifier walks through.
#include "rejected.h"

SEC("raw_tp/sys_enter")
int loop_too_long(void *ctx)
{
	__u64 sum = 0;

	for (__u32 i = 0; i < 10000000; i++) // rejected
		sum += bpf_get_prandom_u32() & i;
	return sum & 1;
}
