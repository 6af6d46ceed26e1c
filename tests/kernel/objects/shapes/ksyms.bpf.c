/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The kernel's own symbols: an address from kallsyms, and one that is nowhere. */
#include "shape.h"

extern const void schedule __ksym;
extern const void never_was __ksym __weak;

u64 address;
u64 nothing = 9;

SEC("raw_tp/sys_enter")
int look(void *ctx)
{
	address = (u64)&schedule;
	nothing = (u64)&never_was;
	return 0;
}
