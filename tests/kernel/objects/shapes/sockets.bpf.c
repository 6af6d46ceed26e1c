/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Maps whose values are sockets: Python writes descriptors and reads cookies. */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} by_index SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} by_key SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, 4);
	__type(key, u32);
	__type(value, u64);
} listeners SEC(".maps");

SEC("sk_skb/stream_verdict")
int verdict(struct __sk_buff *skb)
{
	return bpf_sk_redirect_map(skb, &by_index, 0, 0);
}

SEC("sk_reuseport")
int choose(struct sk_reuseport_md *ctx)
{
	u32 first = 0;

	return bpf_sk_select_reuseport(ctx, &listeners, &first, 0) ? SK_DROP : SK_PASS;
}
