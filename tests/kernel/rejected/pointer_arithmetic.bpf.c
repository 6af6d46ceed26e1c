// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: pointer-arithmetic
// Divides a pointer.
#include "rejected.h"

SEC("raw_tp/sys_enter")
int pointer_arithmetic(void *ctx)
{
	return ((__u64)ctx / 7) & 1; // rejected
}
