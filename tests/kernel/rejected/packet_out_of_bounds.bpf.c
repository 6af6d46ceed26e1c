// SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause
// kind: packet-bounds
// Reads a packet without comparing with its end.
#include "rejected.h"

struct xdp_md {
	__u32 data;
	__u32 data_end;
};

SEC("xdp")
int packet_out_of_bounds(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data;

	return data[12] == 8 ? 1 : 2; // rejected
}
