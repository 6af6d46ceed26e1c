// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: uninitialised-stack
// capabilities: CAP_BPF
// Reads stack that was never written. With CAP_PERFMON too that is allowed since 6.4 (kernel commit
// 6715df8d5d24) and in stable kernels before it.
#include "rejected.h"

SEC("socket")
__attribute__((naked)) int uninitialised_stack(void)
{
	asm volatile("r0 = *(u64 *)(r10 - 8); exit"); // rejected
}
