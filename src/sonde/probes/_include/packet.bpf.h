/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What a frame is: its tags, its network header, its ports. One parser for XDP (xdp_md) and traffic control (__sk_buff),
 * for frames with an Ethernet header and for those of interfaces that have none (tun, WireGuard).
 *
 *	struct packet packet;
 *
 *	xdp_parse(ctx, &packet);		SEC("xdp")
 *	skb_parse(skb, &packet, true);		SEC("tc")
 *
 * Of an skb only the first part may lie in one piece of memory, and a program that reads the rest in place sees nothing
 * of it. skb_parse() reads in place where that is enough, and by bpf_skb_load_bytes where not; the skb stays as it is.
 *
 * Of a tunnel (GRE, IPIP, VXLAN) the outer headers are told. Numbers are in the host's byte order, addresses as on the wire.
 */
#ifndef SONDE_PACKET_BPF_H
#define SONDE_PACKET_BPF_H

#include "headers.bpf.h"
#include "packet_source.bpf.h"

/* linux/pkt_cls.h: the next program decides, and in the end the kernel as if there were none. */
enum { TC_ACT_UNSPEC = -1 };

/* Why a frame's protocol is not known. */
enum packet_reason {
	PACKET_WHOLE = 0,
	/* It ends before its network header does, or before the last extension header. */
	PACKET_TRUNCATED,
	/* The first four bits are not what the EtherType says. */
	PACKET_BAD_VERSION,
	/* An IPv4 header that says that it is shorter than 20 bytes. */
	PACKET_BAD_HEADER_LENGTH,
	PACKET_TOO_MANY_TAGS,
	PACKET_TOO_MANY_EXTENSIONS,
	PACKET_REASONS,
};

enum packet_fragment {
	FRAGMENT_NONE = 0,
	/* The first of several: it has ports. */
	FRAGMENT_FIRST,
	/* It has none: what stands there is data. */
	FRAGMENT_LATER,
};

enum { PACKET_TAGS_MAX = 2, PACKET_EXTENSIONS_MAX = 8 };

/* An IPv4 address is in the first four bytes, and zeros behind it. */
union packet_address {
	u8 bytes[16];
	u32 words[4];
	u64 halves[2];
};

struct packet {
	union packet_address source;
	union packet_address destination;
	/* Where headers begin, from the frame's first byte; 0: there is none, or it is a later fragment's. */
	u16 network_offset;
	u16 transport_offset;
	/* Behind all tags; below ETHERTYPE_MIN it is a length. */
	u16 ethertype;
	/* VLAN numbers, the outer one first; tags of the number 0 (priority only) are tags, too. */
	u16 tags[PACKET_TAGS_MAX];
	u16 source_port;
	u16 destination_port;
	u8 tags_count;
	/* 4 or 6 as soon as the EtherType says so, whatever the reason; else 0. */
	u8 ip_version;
	/* IPv6: behind the extension headers that the kernel skips, too (ipv6_ext_hdr). Not known where there is a reason. */
	u8 protocol;
	u8 fragment;
	u8 reason;
	/* Both ports were read (TCP, UDP, UDP-Lite, DCCP, SCTP); type and code were (ICMP, ICMPv6); TCP's flags were. */
	bool has_ports;
	bool has_icmp;
	bool has_tcp_flags;
	u8 icmp_type;
	u8 icmp_code;
	u8 tcp_flags;
	u8 padding[7];
};
_Static_assert(sizeof(struct packet) == 64, "hidden padding");

/* Walk over the tags: gives the offset behind them, or sets the reason. */
static __always_inline u64 packet_tags(const struct packet_source *source, struct packet *packet)
{
	u64 offset = 0, ethertype = source->ethertype, count = source->has_tag;
	const struct ethernet_header *ethernet;
	struct ethernet_header ethernet_copy;
	const struct tag_header *tag;
	struct tag_header tag_copy;
	u32 i;

	if (source->has_tag)
		packet->tags[0] = source->tag & TAG_ID_MASK;
	if (source->has_ethernet) {
		offset = sizeof(*ethernet);
		ethernet = packet_at(source, 0, &ethernet_copy, sizeof(ethernet_copy));
		if (!ethernet)
			goto truncated;
		ethertype = bpf_ntohs(ethernet->type);
	}
#pragma unroll
	for (i = 0; i < PACKET_TAGS_MAX && unlikely(is_tag(ethertype)); i++) {
		if (count == PACKET_TAGS_MAX)
			break;
		tag = packet_at(source, offset, &tag_copy, sizeof(tag_copy));
		if (!tag)
			goto truncated;
		if (count == 0)
			packet->tags[0] = bpf_ntohs(tag->tag) & TAG_ID_MASK;
		else
			packet->tags[1] = bpf_ntohs(tag->tag) & TAG_ID_MASK;
		count++;
		ethertype = bpf_ntohs(tag->type);
		offset += sizeof(*tag);
	}
	packet->ethertype = ethertype;
	packet->tags_count = count;
	if (unlikely(is_tag(ethertype)))
		packet->reason = PACKET_TOO_MANY_TAGS;
	return offset;

truncated:
	packet->ethertype = ethertype;
	packet->tags_count = count;
	packet->reason = PACKET_TRUNCATED;
	return offset;
}

/* What is behind the transport's first byte; end_offset is where the network header says that the packet ends. */
static __always_inline void packet_transport(const struct packet_source *source, struct packet *packet, u64 offset,
					     u64 end_offset)
{
	u8 protocol = packet->protocol, flags_copy;
	const u8 *flags;
	u16 copy[2];
	const u16 *words;

	if (packet->fragment == FRAGMENT_LATER)
		return;
	packet->transport_offset = offset;
	if (offset + sizeof(copy) > end_offset)
		return;
	words = packet_at(source, offset, copy, sizeof(copy));
	if (!words)
		return;
	if (protocol == PROTOCOL_ICMP || protocol == PROTOCOL_ICMPV6) {
		packet->has_icmp = true;
		packet->icmp_type = bpf_ntohs(words[0]) >> 8;
		packet->icmp_code = bpf_ntohs(words[0]) & 0xff;
		return;
	}
	if (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP && protocol != PROTOCOL_UDPLITE &&
	    protocol != PROTOCOL_SCTP && protocol != PROTOCOL_DCCP)
		return;
	packet->has_ports = true;
	packet->source_port = bpf_ntohs(words[0]);
	packet->destination_port = bpf_ntohs(words[1]);
	if (protocol != PROTOCOL_TCP || offset + 14 > end_offset)
		return;
	flags = packet_at(source, offset + 13, &flags_copy, sizeof(flags_copy));
	if (!flags)
		return;
	packet->has_tcp_flags = true;
	packet->tcp_flags = *flags;
}

static __always_inline void packet_ipv4(const struct packet_source *source, struct packet *packet, u64 offset)
{
	const struct ipv4_header *header;
	struct ipv4_header copy;
	u64 fragment, length, end_offset;

	packet->ip_version = 4;
	header = packet_at(source, offset, &copy, sizeof(copy));
	if (!header) {
		packet->reason = PACKET_TRUNCATED;
		return;
	}
	if (header->version_length >> 4 != 4) {
		packet->reason = PACKET_BAD_VERSION;
		return;
	}
	length = (header->version_length & 0x0f) * 4;
	if (length < sizeof(*header)) {
		packet->reason = PACKET_BAD_HEADER_LENGTH;
		return;
	}
	if (offset + length > source->length_bytes) {
		packet->reason = PACKET_TRUNCATED;
		return;
	}
	packet->protocol = header->protocol;
	packet->source.words[0] = header->source;
	packet->destination.words[0] = header->destination;
	fragment = bpf_ntohs(header->fragment);
	if (fragment & IPV4_FRAGMENT_OFFSET)
		packet->fragment = FRAGMENT_LATER;
	else if (fragment & IPV4_MORE_FRAGMENTS)
		packet->fragment = FRAGMENT_FIRST;
	/* Behind the packet's end may be padding. What the kernel joins of many segments may be too long to be told: 0. */
	end_offset = header->total_length ? offset + bpf_ntohs(header->total_length) : source->length_bytes;
	packet_transport(source, packet, offset + length, end_offset);
}

/* What a walk over extension headers found, in one register. */
enum {
	WALK_OFFSET_MASK = 0x7fff,
	WALK_PROTOCOL_SHIFT = 16,
	WALK_FRAGMENT_SHIFT = 24,
	WALK_REASON_SHIFT = 28,
};

/* Walk over IPv6's extension headers: the offset behind them, the protocol, what fragment it is, the reason. */
static __always_inline u64 packet_walk(const struct packet_source *source, u64 offset, u64 next_header)
{
	u64 length, offset_of_fragment, fragment = FRAGMENT_NONE;
	u32 i;
	const struct extension_header *header;
	struct extension_header copy;

#pragma clang loop unroll(disable)
	for (i = 0; i < PACKET_EXTENSIONS_MAX; i++) {
		header = packet_at(source, offset, &copy, sizeof(copy));
		if (!header)
			return PACKET_TRUNCATED << WALK_REASON_SHIFT;
		length = (header->length + 1) * 8;
		if (next_header == PROTOCOL_AUTHENTICATION)
			length = (header->length + 2) * 4;
		if (next_header == PROTOCOL_FRAGMENT) {
			length = sizeof(*header);
			offset_of_fragment = bpf_ntohs(header->fragment);
			if (offset_of_fragment & IPV6_MORE_FRAGMENTS)
				fragment = FRAGMENT_FIRST;
			if (offset_of_fragment & IPV6_FRAGMENT_OFFSET)
				fragment = FRAGMENT_LATER;
		}
		next_header = header->next_header;
		/* Never more than the mask: for the verifier all turns begin alike now, and it follows one. */
		offset = (offset + length) & WALK_OFFSET_MASK;
		if (fragment == FRAGMENT_LATER || !is_extension(next_header)) {
			if (offset > source->length_bytes)
				return PACKET_TRUNCATED << WALK_REASON_SHIFT;
			return offset | next_header << WALK_PROTOCOL_SHIFT |
			       fragment << WALK_FRAGMENT_SHIFT;
		}
	}
	return PACKET_TOO_MANY_EXTENSIONS << WALK_REASON_SHIFT;
}

/*
 * Not inlined, for few frames have such headers: the way of the others stays short. And not static, so that the verifier
 * takes each by itself (global functions, Linux 5.6), once, and not with all that its callers may have found before.
 */
__attribute__((noinline)) u64 xdp_walk(struct xdp_md *context, u64 offset, u64 next_header)
{
	struct packet_source source = xdp_source(context);

	return packet_walk(&source, offset & WALK_OFFSET_MASK, next_header);
}

__attribute__((noinline)) u64 skb_walk(struct __sk_buff *skb, u64 offset, u64 next_header)
{
	struct packet_source source = skb_source(skb, true);

	source.is_paged = true;
	return packet_walk(&source, offset & WALK_OFFSET_MASK, next_header);
}

static __always_inline void packet_ipv6(const struct packet_source *source, struct packet *packet, u64 offset)
{
	const struct ipv6_header *header;
	struct ipv6_header copy;
	u64 end_offset, walk;

	packet->ip_version = 6;
	header = packet_at(source, offset, &copy, sizeof(copy));
	if (!header) {
		packet->reason = PACKET_TRUNCATED;
		return;
	}
	if (header->version_class >> 4 != 6) {
		packet->reason = PACKET_BAD_VERSION;
		return;
	}
	packet->source.halves[0] = header->source[0];
	packet->source.halves[1] = header->source[1];
	packet->destination.halves[0] = header->destination[0];
	packet->destination.halves[1] = header->destination[1];
	packet->protocol = header->next_header;
	end_offset = source->length_bytes;
	offset += sizeof(*header);
	/* 0 says nothing: a jumbogram, or many segments that the kernel has joined. */
	if (header->payload_length)
		end_offset = offset + bpf_ntohs(header->payload_length);
	if (unlikely(is_extension(packet->protocol))) {
		walk = source->is_xdp ? xdp_walk(source->context, offset, packet->protocol) :
					skb_walk(source->context, offset, packet->protocol);
		packet->reason = walk >> WALK_REASON_SHIFT;
		if (packet->reason)
			return;
		packet->protocol = walk >> WALK_PROTOCOL_SHIFT;
		packet->fragment = walk >> WALK_FRAGMENT_SHIFT & 0xf;
		offset = walk & WALK_OFFSET_MASK;
	}
	packet_transport(source, packet, offset, end_offset);
}

/* Tell what a frame is, reading in place or by copies, as the source says. */
static __always_inline void packet_parse_once(const struct packet_source *source, struct packet *packet)
{
	u64 offset;

	__builtin_memset(packet, 0, sizeof(*packet));
	/* It stays in memory: as twenty variables it would be spilled and filled again at each way out. */
	barrier_var(packet);
	offset = packet_tags(source, packet);
	if (packet->reason)
		return;
	if (packet->ethertype == ETHERTYPE_IPV4) {
		packet->network_offset = offset;
		packet_ipv4(source, packet, offset);
	} else if (packet->ethertype == ETHERTYPE_IPV6) {
		packet->network_offset = offset;
		packet_ipv6(source, packet, offset);
	}
}

/* Tell what a frame is that XDP sees. */
static __always_inline void xdp_parse(struct xdp_md *context, struct packet *packet)
{
	struct packet_source source = xdp_source(context);

	packet_parse_once(&source, packet);
}

/* How many bytes of an skb have to be in one piece for all headers to be read in place, options included. */
enum { PACKET_HEADERS_BYTES = 14 + 2 * 4 + 60 + 20 };

/* The same for an skb whose headers are not in one piece; rare, so not inlined. */
static __attribute__((noinline, unused)) int skb_parse_paged(struct __sk_buff *skb, struct packet *packet,
							     bool has_ethernet)
{
	struct packet_source source = skb_source(skb, has_ethernet);

	source.is_paged = true;
	packet_parse_once(&source, packet);
	return packet->reason;
}

/* Tell what a frame is that traffic control sees; has_ethernet is a constant, see skb_source. */
static __always_inline void skb_parse(struct __sk_buff *skb, struct packet *packet, bool has_ethernet)
{
	struct packet_source source = skb_source(skb, has_ethernet);
	u64 linear_bytes = source.data_end - source.data;
	int reason;

	if (likely(linear_bytes >= PACKET_HEADERS_BYTES || linear_bytes == source.length_bytes)) {
		packet_parse_once(&source, packet);
		return;
	}
	/* A result that nobody takes would be left out, and with it what makes the register a number (verifier). */
	reason = skb_parse_paged(skb, packet, has_ethernet);
	barrier_var(reason);
}

#endif
