// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: uninitialised-register
// Returns a register that nothing was written to.
#include "rejected.h"

SEC("raw_tp/sys_enter")
__attribute__((naked)) int uninitialised_register(void)
{
	asm volatile("r0 = r7; exit"); // rejected
}
