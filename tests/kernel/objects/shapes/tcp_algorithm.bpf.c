/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A set of functions for the kernel to call: a TCP congestion algorithm (struct_ops, Linux 5.6). */
#include "shape.h"

struct sock;

struct tcp_congestion_ops {
	u32 (*ssthresh)(struct sock *sk);
	u32 (*undo_cwnd)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, u32 ack, u32 acked);
	char name[16];
} __attribute__((preserve_access_index));

SEC("struct_ops/ssthresh")
u32 ssthresh(u64 *ctx)
{
	return 2;
}

SEC("struct_ops/undo_cwnd")
u32 undo_cwnd(u64 *ctx)
{
	return 2;
}

SEC("struct_ops/cong_avoid")
void cong_avoid(u64 *ctx)
{
}

SEC(".struct_ops")
struct tcp_congestion_ops algorithm = {
	.ssthresh = (void *)ssthresh,
	.undo_cwnd = (void *)undo_cwnd,
	.cong_avoid = (void *)cong_avoid,
	.name = "sonde_test",
};
