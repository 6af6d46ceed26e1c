// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: needs-privilege
// capabilities: CAP_BPF
// Returns a kernel address, which only a process with CAP_PERFMON may see.
#include "rejected.h"

SEC("socket")
__attribute__((naked)) int leaked_pointer(void)
{
	asm volatile("r0 = r10; exit"); // rejected
}
