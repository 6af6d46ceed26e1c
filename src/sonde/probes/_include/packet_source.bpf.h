/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where a frame's bytes are: in place for XDP, and for an skb in place or, where they are not in one piece, by copies. */
#ifndef SONDE_PACKET_SOURCE_BPF_H
#define SONDE_PACKET_SOURCE_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_endian.h>

struct packet_source {
	void *context;
	void *data;
	void *data_end;
	/* All of it; what lies between data and data_end may be less. */
	u64 length_bytes;
	/* Of the interface's first header, when the kernel has taken it off or there is none: see skb_source. */
	u16 ethertype;
	u16 tag;
	bool has_tag;
	bool has_ethernet;
	bool is_xdp;
	/* Read by bpf_skb_load_bytes. */
	bool is_paged;
};

/*
 * The context's members are 32 bits wide and pointers for the verifier only as they were loaded: without the barrier the
 * compiler may widen them where it uses them, by shifts.
 */
#define keep_pointers(data, data_end)                                                                                  \
	do {                                                                                                           \
		barrier_var(data);                                                                                     \
		barrier_var(data_end);                                                                                 \
	} while (0)

static __always_inline struct packet_source xdp_source(struct xdp_md *context)
{
	void *data = (void *)(long)context->data, *data_end = (void *)(long)context->data_end;

	keep_pointers(data, data_end);
	return (struct packet_source){
		.context = context,
		.data = data,
		.data_end = data_end,
		.length_bytes = data_end - data,
		.has_ethernet = true,
		.is_xdp = true,
	};
}

/*
 * The tag nearest to the wire is mostly not in the frame but beside it: the card has taken it off, or will put it on, or
 * the kernel did (skb_vlan_untag). has_ethernet is a constant that the program knows from the interface's kind.
 */
static __always_inline struct packet_source skb_source(struct __sk_buff *skb, bool has_ethernet)
{
	void *data = (void *)(long)skb->data, *data_end = (void *)(long)skb->data_end;

	keep_pointers(data, data_end);
	return (struct packet_source){
		.context = skb,
		.data = data,
		.data_end = data_end,
		.length_bytes = skb->len,
		.ethertype = has_ethernet ? 0 : bpf_ntohs(skb->protocol),
		.tag = skb->vlan_tci,
		.has_tag = skb->vlan_present,
		.has_ethernet = has_ethernet,
	};
}

/* A piece of the frame, in place or in the copy; NULL where it is not there. */
static __always_inline const void *packet_at(const struct packet_source *source, u64 offset, void *copy, u64 size)
{
	const void *at = source->data + offset;

	if (source->is_paged)
		return bpf_skb_load_bytes(source->context, offset, copy, size) ? NULL : copy;
	return at + size > source->data_end ? NULL : at;
}

#endif
