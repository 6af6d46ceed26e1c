/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* One counter per program: how often it ran for the process of the test, or for anybody where target is 0. */
#ifndef SONDE_TEST_COUNTER_H
#define SONDE_TEST_COUNTER_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

const volatile __u32 target = 0;

__u64 runs = 0;

static __always_inline void count(void)
{
	if (target && bpf_get_current_pid_tgid() >> 32 != target)
		return;
	__sync_fetch_and_add(&runs, 1);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#endif
