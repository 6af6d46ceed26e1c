// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Counts a USDT probe and adds up its second argument; the cookie is the last one seen. */
#include <stdbool.h>
#include "counter.h"
#include <asm/ptrace.h>
#include <bpf/usdt.bpf.h>

__u64 total = 0;
__u64 cookie = 0;

SEC("?usdt")
int at_usdt(struct pt_regs *context)
{
	long argument = 0;

	count();
	if (bpf_usdt_arg(context, 1, &argument) == 0)
		__sync_fetch_and_add(&total, argument);
	cookie = bpf_usdt_cookie(context);
	return 0;
}
