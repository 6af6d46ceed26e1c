// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the parser tells of a frame, for test runs: the struct is left in the variable parsed. */
#include "packet.bpf.h"

struct packet parsed;
u32 linear_bytes;

SEC("xdp")
int parse_xdp(struct xdp_md *ctx)
{
	struct packet packet;

	xdp_parse(ctx, &packet);
	parsed = packet;
	return XDP_PASS;
}

SEC("tc")
int parse_skb(struct __sk_buff *skb)
{
	struct packet packet;

	linear_bytes = skb->data_end - skb->data;
	skb_parse(skb, &packet, true);
	parsed = packet;
	return TC_ACT_UNSPEC;
}

/* The way of an skb whose headers are not in one piece, whichever it is. */
SEC("tc")
int parse_paged(struct __sk_buff *skb)
{
	struct packet packet;
	int reason = skb_parse_paged(skb, &packet, true);

	barrier_var(reason);
	parsed = packet;
	return TC_ACT_UNSPEC;
}

SEC("tc")
int parse_bare(struct __sk_buff *skb)
{
	struct packet packet;

	skb_parse(skb, &packet, false);
	parsed = packet;
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
