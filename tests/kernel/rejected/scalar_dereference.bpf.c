// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: scalar-dereference
// Follows a number as if it were a pointer.
#include "rejected.h"

SEC("raw_tp/sys_enter")
int scalar_dereference(__u64 *ctx)
{
	__u64 *registers = (__u64 *)ctx[0];

	return registers[3] & 1; // rejected
}
