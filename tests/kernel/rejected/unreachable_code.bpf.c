// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: control-flow
// Has instructions that no path leads to.
#include "rejected.h"

SEC("raw_tp/sys_enter")
__attribute__((naked)) int unreachable_code(void)
{
	asm volatile("r0 = 0; exit; r0 = 1; exit");
}
