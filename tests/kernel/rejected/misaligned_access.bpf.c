// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: misaligned
// Adds atomically at an odd address.
#include "rejected.h"

// Since clang 22 the compiler sees it too; the verifier is meant to.
#pragma clang diagnostic ignored "-Wsync-alignment"

SEC("raw_tp/sys_enter")
int misaligned_access(void *ctx)
{
	__u8 bytes[16] = {};

	__sync_fetch_and_add((__u64 *)(bytes + 1), 1); // rejected
	return bytes[2];
}
