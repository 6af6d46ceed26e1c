/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * How many packets an skb is. What a socket sends in one piece, the card or the kernel cuts into segments behind egress
 * (GSO); what comes in is joined before ingress (GRO). On the wire each segment has the headers, too.
 */
#ifndef SONDE_PACKETS_SEGMENTS_BPF_H
#define SONDE_PACKETS_SEGMENTS_BPF_H

#include "packet.bpf.h"

struct weight {
	u64 packets;
	u64 bytes;
};

enum { TCP_LENGTH_OFFSET = 12, UDP_HEADER_BYTES = 8 };

/* How long the headers are that each segment has: up to the end of TCP's or UDP's. */
static __always_inline u64 segment_header_bytes(struct __sk_buff *skb, const struct packet *packet)
{
	u64 offset = packet->transport_offset;
	u8 length = 0;

	if (packet->protocol == PROTOCOL_UDP)
		return offset + UDP_HEADER_BYTES;
	if (packet->protocol == PROTOCOL_TCP)
		bpf_skb_load_bytes(skb, offset + TCP_LENGTH_OFFSET, &length, sizeof(length));
	return offset + (length >> 4) * 4;
}

/*
 * The extension header by which IPv6 says that it is longer than its length field can (RFC 2675): the kernel puts it before
 * what it sends or has joined (BIG TCP, Linux 5.19), and no segment has it.
 */
static __always_inline u64 jumbo_header_bytes(struct __sk_buff *skb, const struct packet *packet)
{
	u64 headers_bytes = packet->transport_offset - packet->network_offset;

	if (likely(skb->len - packet->network_offset <= sizeof(struct ipv6_header) + 0xffff))
		return 0;
	return packet->ip_version == 6 && headers_bytes > sizeof(struct ipv6_header) ? sizeof(struct extension_header) : 0;
}

/* What the link's own counters make of it, tags beside the frame left out as there. */
static __always_inline struct weight skb_weight(struct __sk_buff *skb, const struct packet *packet)
{
	u64 count = skb->gso_segs, size = skb->gso_size, wire_bytes = skb->wire_len, header_bytes, bytes;

	if (likely(size == 0))
		return (struct weight){ 1, skb->len };
	header_bytes = segment_header_bytes(skb, packet);
	/* A guest, or a program with a packet socket, says how long the segments shall be, and leaves their number to us. */
	if (count == 0 && skb->len > header_bytes)
		count = (skb->len - header_bytes + size - 1) / size;
	if (count == 0)
		count = 1;
	bytes = skb->len + (count - 1) * header_bytes;
	/* Segments of a tunnel have the inner headers, too: of what goes out the kernel has added them up (qdisc_pkt_len_init). */
	if (wire_bytes > bytes)
		bytes = wire_bytes;
	return (struct weight){ count, bytes - count * jumbo_header_bytes(skb, packet) };
}

#endif
