/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What both tables call a packet: its interface and direction, its IP version, and one number for what it carries. */
#ifndef SONDE_PACKETS_KIND_BPF_H
#define SONDE_PACKETS_KIND_BPF_H

#include "packet.bpf.h"

enum { INGRESS = 0, EGRESS = 1 };

/*
 * Three spaces of numbers in one: IP's protocols below 256; behind them what is none (with the IP version that the EtherType
 * says); from ETHERTYPE_MIN on EtherTypes, with the version 0. enrich/network_protocol.py has the names.
 */
enum {
	PROTOCOL_REASON = 0x100,
	/* IEEE 802.3: a length in the place of the type. */
	PROTOCOL_LLC = 0x200,
};

/* Version and protocol as one number: protocol | version << 16, and the direction above. */
enum { KIND_VERSION_SHIFT = 16, KIND_DIRECTION_SHIFT = 24 };

/* Declared with the width of its register: the libraries' u32 would be widened by two shifts. */
static u64 (*const this_cpu)(void) = (void *)BPF_FUNC_get_smp_processor_id;

#define KIND(version, direction) ((u64)(version) << KIND_VERSION_SHIFT | (u64)(direction) << KIND_DIRECTION_SHIFT)

static __always_inline u64 kind_of(const struct packet *packet)
{
	u64 protocol = packet->protocol;

	if (packet->reason)
		protocol = PROTOCOL_REASON | packet->reason;
	else if (packet->ip_version == 0)
		protocol = packet->ethertype < ETHERTYPE_MIN ? PROTOCOL_LLC : packet->ethertype;
	return protocol | (u64)packet->ip_version << KIND_VERSION_SHIFT;
}

/* EtherType and first byte of the network header, read in one piece (little-endian). */
enum {
	PLAIN_IPV4_MASK = 0x00ffffff,
	PLAIN_IPV4 = 0x00450008,
	PLAIN_IPV6_MASK = 0x00f0ffff,
	PLAIN_IPV6 = 0x0060dd86,
};

#endif
