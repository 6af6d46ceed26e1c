/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The headers of frames, as they are on the wire, and the numbers in them. */
#ifndef SONDE_HEADERS_BPF_H
#define SONDE_HEADERS_BPF_H

#include "kernel.bpf.h"

enum {
	/* IEEE 802: what is below is a length, and the frame has a logical-link header. */
	ETHERTYPE_MIN = 0x0600,
	ETHERTYPE_IPV4 = 0x0800,
	ETHERTYPE_VLAN = 0x8100,
	ETHERTYPE_IPV6 = 0x86dd,
	ETHERTYPE_QINQ = 0x88a8,
};

enum {
	PROTOCOL_HOP_BY_HOP = 0,
	PROTOCOL_ICMP = 1,
	PROTOCOL_TCP = 6,
	PROTOCOL_UDP = 17,
	PROTOCOL_DCCP = 33,
	PROTOCOL_ROUTING = 43,
	PROTOCOL_FRAGMENT = 44,
	PROTOCOL_AUTHENTICATION = 51,
	PROTOCOL_ICMPV6 = 58,
	PROTOCOL_DESTINATION = 60,
	PROTOCOL_SCTP = 132,
	PROTOCOL_UDPLITE = 136,
};

struct ethernet_header {
	u8 destination[6];
	u8 source[6];
	u16 type;
};

struct tag_header {
	u16 tag;
	u16 type;
};

struct ipv4_header {
	u8 version_length;
	u8 service;
	u16 total_length;
	u16 identification;
	u16 fragment;
	u8 hops;
	u8 protocol;
	u16 checksum;
	u32 source;
	u32 destination;
};
_Static_assert(sizeof(struct ipv4_header) == 20, "as on the wire");

struct ipv6_header {
	u8 version_class;
	u8 class_flow[3];
	u16 payload_length;
	u8 next_header;
	u8 hops;
	u64 source[2];
	u64 destination[2];
};
_Static_assert(sizeof(struct ipv6_header) == 40, "as on the wire");

struct extension_header {
	u8 next_header;
	u8 length;
	u16 fragment;
	u32 rest;
};

enum { TAG_ID_MASK = 0x0fff };
enum { IPV4_FRAGMENT_OFFSET = 0x1fff, IPV4_MORE_FRAGMENTS = 0x2000 };
enum { IPV6_FRAGMENT_OFFSET = 0xfff8, IPV6_MORE_FRAGMENTS = 0x0001 };

/* The headers that stand between IPv6 and what it carries: those of the kernel's ipv6_ext_hdr() but for NONE, the end. */
static __always_inline bool is_extension(u64 next_header)
{
	const u64 extensions = 1ULL << PROTOCOL_HOP_BY_HOP | 1ULL << PROTOCOL_ROUTING | 1ULL << PROTOCOL_FRAGMENT |
			       1ULL << PROTOCOL_AUTHENTICATION | 1ULL << PROTOCOL_DESTINATION;

	return next_header < 64 && extensions >> next_header & 1;
}

static __always_inline bool is_tag(u64 ethertype)
{
	return ethertype == ETHERTYPE_VLAN || ethertype == ETHERTYPE_QINQ;
}

#endif
