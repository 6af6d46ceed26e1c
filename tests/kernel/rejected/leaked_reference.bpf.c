// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: leaked-reference
// Reserves ring buffer space and leaves without submitting it.
#include "rejected.h"

struct {
	__uint(type, MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

SEC("raw_tp/sys_enter")
int leaked_reference(void *ctx)
{
	__u64 *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record)
		return 0;
	*record = 1;
	return 0;
} // rejected
