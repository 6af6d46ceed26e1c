/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A packet that the kernel drops, as its skb tells of it in that moment. What is where in an skb depends on how far the
 * packet has come: members that were not set yet, or that are something else by now, are found out by what they point to.
 */
#ifndef SONDE_DROPS_DROP_BPF_H
#define SONDE_DROPS_DROP_BPF_H

#include "accounting.bpf.h"
#include "kernel.bpf.h"
#include "knob.bpf.h"
#include "packet.bpf.h"
#include "sampling.bpf.h"

enum {
	INTERFACE_LENGTH = 16,
	/* PROC_DYNAMIC_FIRST and PROC_*_INIT_INO, include/linux/proc_ns.h: namespaces have numbers from here on. */
	NAMESPACE_MIN = 0xeffffff0,
	/* The low bits of skb->_skb_refdst are flags. */
	DST_FLAGS = 7,
	REASON_UNKNOWN = 0xffffffff,
};

/* Beside IP's protocols and EtherTypes: enrich/protocol_name.py has the names. */
enum {
	PROTOCOL_TRUNCATED = 0x100 | PACKET_TRUNCATED,
	PROTOCOL_BAD_VERSION = 0x100 | PACKET_BAD_VERSION,
	/* A packet that was made and not given a type yet, as it is without a route. */
	PROTOCOL_UNSET = 0x1ff,
	PROTOCOL_LLC = 0x200,
};

/* The number of enum skb_drop_reason; names come from the running kernel's BTF. */
typedef u32 sonde_drop_reason_t;
/* A network namespace's number: of /proc/PID/ns/net, lsns, ip netns. */
typedef u32 sonde_netns_t;
typedef char sonde_interface_name_t;

KNOB(bool, is_typed, true, "the skb is a pointer of a type that the verifier knows (tp_btf)");
KNOB(u32, only_netns, 0, "only drops in this network namespace, by number");

struct net {
	struct ns_common ns;
} KERNEL_TYPE;

typedef struct {
	struct net *net;
} KERNEL_TYPE possible_net_t;

struct net_device {
	char name[INTERFACE_LENGTH];
	s32 ifindex;
	possible_net_t nd_net;
} KERNEL_TYPE;

struct dst_entry {
	struct net_device *dev;
} KERNEL_TYPE;

struct sock_common___netns {
	possible_net_t skc_net;
} KERNEL_TYPE;

struct sk_buff {
	struct net_device *dev;
	struct sock_common___netns *sk;
	unsigned long _skb_refdst;
	u32 len;
	s32 skb_iif;
	u16 protocol;
	u16 network_header;
	u32 tail;
	unsigned char *head;
	unsigned char *data;
} KERNEL_TYPE;

enum skb_drop_reason___sonde {
	SKB_DROP_REASON_NOT_SPECIFIED___sonde = 2,
};

/* Linux 6.11 (c53795d48ee8: "add rx_sk to trace_kfree_skb") tells the socket that a packet came in for. */
struct trace_event_raw_kfree_skb {
	void *rx_sk;
} KERNEL_TYPE;

struct drop_counters {
	u64 seen;
	u64 filtered;
	u64 thinned_out;
	u64 lost_ring_full;
	u64 lost_rate;
	/* A note: drops that others stand for. */
	u64 represented;
};

/* Where a drop was, of which every output tells. */
struct drop {
	const struct sk_buff *skb;
	/* NULL where the skb has none (any more). */
	const struct net_device *device;
	/* The socket that it came in for, if the kernel tells. */
	const struct sock_common___netns *receiver;
	/* The address behind the call that freed the skb. */
	u64 function_ip;
	u64 bytes;
	/* Of the network header, from skb->head; 0 where it is not to be read. */
	u64 network_at;
	u64 tail_at;
	u32 reason;
	u32 netns;
	u32 ifindex;
	u16 ethertype;
	u8 ip_version;
};

/* A member of the skb: a plain load where the verifier knows the pointer's type, else a probe read. */
#define SKB_READ(skb, member) (is_typed ? (skb)->member : BPF_CORE_READ(skb, member))

/* Linux 5.17 (c504e5c2f964) gives a reason; a constant once loaded, so that the load is not there before. */
static __always_inline u32 reason_of(const u64 *ctx)
{
	if (bpf_core_enum_value_exists(enum skb_drop_reason___sonde, SKB_DROP_REASON_NOT_SPECIFIED___sonde))
		return ctx[2];
	return REASON_UNKNOWN;
}

static __always_inline const void *receiver_of(const u64 *ctx)
{
	return bpf_core_field_exists(struct trace_event_raw_kfree_skb, rx_sk) ? (const void *)ctx[3] : NULL;
}

/* The namespace's number, or 0 where the pointer leads to none: what it was read from is no device, no socket. */
static __always_inline u32 number_of(const struct net *net)
{
	u32 number = net ? BPF_CORE_READ(net, ns.inum) : 0;

	return number >= NAMESPACE_MIN ? number : 0;
}

/* Take a device for the packet's if it is one. */
static __always_inline bool take_device(struct drop *drop, const struct net_device *device)
{
	u32 netns = device ? number_of(BPF_CORE_READ(device, nd_net.net)) : 0;

	if (!netns)
		return false;
	drop->device = device;
	drop->netns = netns;
	drop->ifindex = BPF_CORE_READ(device, ifindex);
	return true;
}

/*
 * skb->dev is not set yet where a packet is made, and is something else, or NULL, while one is in a queue of UDP or TCP.
 * Then the packet came in by skb_iif, or is to go out by its route's device; the namespace is the socket's or the
 * route's.
 */
static __always_inline void find_place(struct drop *drop)
{
	const struct sk_buff *skb = drop->skb;
	const struct net_device *route_device = NULL;
	const struct sock_common___netns *socket;
	const struct dst_entry *route;
	u32 came_in_by;

	if (likely(take_device(drop, SKB_READ(skb, dev))))
		return;
	came_in_by = SKB_READ(skb, skb_iif);
	route = (const void *)(SKB_READ(skb, _skb_refdst) & ~(unsigned long)DST_FLAGS);
	if (route)
		route_device = BPF_CORE_READ(route, dev);
	if (!came_in_by && take_device(drop, route_device))
		return;
	drop->ifindex = came_in_by;
	socket = drop->receiver ? drop->receiver : SKB_READ(skb, sk);
	if (socket)
		drop->netns = number_of(BPF_CORE_READ(socket, skc_net.net));
	if (!drop->netns && route_device)
		drop->netns = number_of(BPF_CORE_READ(route_device, nd_net.net));
}

/* Bytes count from the network header on, wherever skb->data is just then. */
static __always_inline void find_network(struct drop *drop)
{
	const struct sk_buff *skb = drop->skb;
	u64 head = (u64)SKB_READ(skb, head), data_at = (u64)SKB_READ(skb, data) - head;
	u64 network_at = SKB_READ(skb, network_header), length = SKB_READ(skb, len);
	s64 bytes;

	drop->ethertype = bpf_ntohs(SKB_READ(skb, protocol));
	drop->ip_version = drop->ethertype == ETHERTYPE_IPV4 ? 4 : drop->ethertype == ETHERTYPE_IPV6 ? 6 : 0;
	drop->tail_at = SKB_READ(skb, tail);
	/* Not set yet: a driver's, where data is at that header. */
	if (network_at == 0 || network_at == 0xffff)
		network_at = data_at;
	bytes = length + data_at - network_at;
	drop->bytes = bytes > 0 ? bytes : length;
	drop->network_at = network_at;
}

static __always_inline void read_drop(struct drop *drop, const u64 *ctx)
{
	__builtin_memset(drop, 0, sizeof(*drop));
	drop->skb = (const void *)ctx[0];
	drop->function_ip = ctx[1];
	drop->reason = reason_of(ctx);
	drop->receiver = receiver_of(ctx);
}

/* Looks for the place where that decides; complete_drop() does where it does not. */
static __always_inline bool drop_is_selected(struct drop *drop)
{
	if (!only_netns)
		return true;
	find_place(drop);
	return drop->netns == only_netns;
}

static __always_inline void complete_drop(struct drop *drop)
{
	if (!only_netns)
		find_place(drop);
	find_network(drop);
}

/* A piece of the headers; false where they do not lie in the skb's first part, or end before. */
static __always_inline bool read_header(const struct drop *drop, u64 at, void *to, u32 size)
{
	const struct sk_buff *skb = drop->skb;
	const unsigned char *head = SKB_READ(skb, head);

	return at + size <= drop->tail_at && bpf_probe_read_kernel(to, size, head + at) == 0;
}

/* What the IP header says. */
struct headers {
	union packet_address source;
	union packet_address destination;
	/* 0: there is none, or it is a later fragment's. */
	u64 transport_at;
	/* As enrich/protocol_name.py numbers it. */
	u16 protocol;
};

/* Walk over IPv6's extension headers. */
static __always_inline void walk_extensions(const struct drop *drop, struct headers *headers, u64 at)
{
	struct extension_header extension;
	u32 i;

	for (i = 0; i < PACKET_EXTENSIONS_MAX && is_extension(headers->protocol); i++) {
		if (!read_header(drop, at, &extension, sizeof(extension))) {
			headers->protocol = PROTOCOL_TRUNCATED;
			return;
		}
		if (headers->protocol == PROTOCOL_FRAGMENT) {
			at += sizeof(extension);
			headers->protocol = extension.next_header;
			if (bpf_ntohs(extension.fragment) & IPV6_FRAGMENT_OFFSET)
				return;
			continue;
		}
		at += headers->protocol == PROTOCOL_AUTHENTICATION ? (extension.length + 2) * 4 :
								     (extension.length + 1) * 8;
		headers->protocol = extension.next_header;
	}
	headers->transport_at = at;
}

/* IPv4 addresses as IPv6 has them: ::ffff:a.b.c.d. */
static __always_inline void map_address(union packet_address *address, u32 ipv4)
{
	address->words[0] = address->words[1] = 0;
	address->words[2] = bpf_htonl(0xffff);
	address->words[3] = ipv4;
}

static __always_inline void read_ipv4(const struct drop *drop, struct headers *headers)
{
	struct ipv4_header ipv4;

	if (!read_header(drop, drop->network_at, &ipv4, sizeof(ipv4)))
		return;
	headers->protocol = ipv4.version_length >> 4 == 4 ? ipv4.protocol : PROTOCOL_BAD_VERSION;
	if (headers->protocol == PROTOCOL_BAD_VERSION)
		return;
	map_address(&headers->source, ipv4.source);
	map_address(&headers->destination, ipv4.destination);
	if (!(bpf_ntohs(ipv4.fragment) & IPV4_FRAGMENT_OFFSET))
		headers->transport_at = drop->network_at + (ipv4.version_length & 0x0f) * 4;
}

static __always_inline void read_ipv6(const struct drop *drop, struct headers *headers)
{
	struct ipv6_header ipv6;

	if (!read_header(drop, drop->network_at, &ipv6, sizeof(ipv6)))
		return;
	headers->protocol = ipv6.version_class >> 4 == 6 ? ipv6.next_header : PROTOCOL_BAD_VERSION;
	if (headers->protocol == PROTOCOL_BAD_VERSION)
		return;
	headers->source.halves[0] = ipv6.source[0];
	headers->source.halves[1] = ipv6.source[1];
	headers->destination.halves[0] = ipv6.destination[0];
	headers->destination.halves[1] = ipv6.destination[1];
	walk_extensions(drop, headers, drop->network_at + sizeof(ipv6));
}

static __always_inline void read_headers(const struct drop *drop, struct headers *headers)
{
	__builtin_memset(headers, 0, sizeof(*headers));
	headers->protocol = PROTOCOL_TRUNCATED;
	if (drop->ip_version == 4)
		read_ipv4(drop, headers);
	else if (drop->ip_version == 6)
		read_ipv6(drop, headers);
	else if (drop->ethertype >= ETHERTYPE_MIN)
		headers->protocol = drop->ethertype;
	else
		headers->protocol = drop->ethertype ? PROTOCOL_LLC : PROTOCOL_UNSET;
}

#endif
