/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Records of any length in a ring: as many bytes of the packet as its mark says. */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} ring SEC(".maps");

u64 dropped;

SEC("tc")
int write(struct __sk_buff *skb)
{
	u64 length = skb->mark & 255;
	u8 bytes[256] = {};

	if (bpf_skb_load_bytes(skb, 0, bytes, 14))
		return TC_ACT_SHOT;
	bytes[length] = length;
	if (bpf_ringbuf_output(&ring, bytes, length, 0))
		__sync_fetch_and_add(&dropped, 1);
	return TC_ACT_OK;
}
