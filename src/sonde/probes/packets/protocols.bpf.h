/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table protocols: packets and bytes by interface, direction, IP version and protocol.
 *
 * An empty XDP program takes some ten nanoseconds, so each instruction shows here. Each CPU counts in a block of its own, in
 * memory that the programs address directly: no map is asked. A block has a slot for each of the first rows; a packet's
 * key says where its slot is. What finds its slot taken by another row is counted in the hash protocols, and what finds
 * that full in protocols_other. A slot is never given away, so that its counts only grow. Python adds all up by key.
 *
 * These programs exclude each other on a CPU: all run with bottom halves off. So they add without atomics.
 */
#ifndef SONDE_PACKETS_PROTOCOLS_BPF_H
#define SONDE_PACKETS_PROTOCOLS_BPF_H

#include "accounting.bpf.h"
#include "kind.bpf.h"
#include "knob.bpf.h"
#include "segments.bpf.h"

enum { PROTOCOLS_CPUS = 256, PROTOCOLS_SLOTS = 128, PROTOCOLS_ROWS = 4096 };

/* The counters of CPUs that have no block. */
struct protocols_counters {
	u64 seen;
};

ACCOUNTING(protocols, struct protocols_counters, 1);

struct protocols_key {
	sonde_ifindex_t ifindex;
	sonde_protocol_t protocol;
	sonde_ip_version_t ip_version;
	sonde_direction_t direction;
};
_Static_assert(sizeof(struct protocols_key) == 8, "hidden padding");

struct protocols_row {
	u64 packets;
	u64 bytes;
};

struct protocols_slot {
	/* A struct protocols_key; 0: free. */
	u64 key;
	u64 packets;
	u64 bytes;
	u64 padding;
};

struct protocols_block {
	u64 seen;
	u64 padding[7];
	struct protocols_slot slots[PROTOCOLS_SLOTS];
};
_Static_assert(sizeof(struct protocols_block) % 64 == 0, "CPUs would share a cache line");

struct protocols_block protocols_blocks[PROTOCOLS_CPUS];

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, PROTOCOLS_ROWS);
	__type(key, struct protocols_key);
	__type(value, struct protocols_row);
} protocols SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct protocols_row);
} protocols_other SEC(".maps");

static const struct protocols_row protocols_row_none;

static __always_inline struct protocols_row *protocols_row_of(u64 key)
{
	struct protocols_row *row = bpf_map_lookup_elem(&protocols, &key);
	u32 other = 0;

	if (row)
		return row;
	/* Two CPUs may both find nothing: one of them makes the row, and both look it up again. */
	bpf_map_update_elem(&protocols, &key, &protocols_row_none, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&protocols, &key);
	return row ? row : bpf_map_lookup_elem(&protocols_other, &other);
}

/* The slot of a row, if it is not another's: spread by what differs between rows that are busy at the same time. */
static __always_inline u64 protocols_slot_at(u64 ifindex, u64 kind)
{
	u64 version = kind >> KIND_VERSION_SHIFT & 0xff, direction = kind >> KIND_DIRECTION_SHIFT;

	return (kind + version * 16 + direction * 48 + ifindex * 37) & (PROTOCOLS_SLOTS - 1);
}

static __always_inline u64 protocols_key_of(u64 ifindex, u64 kind)
{
	return ifindex | kind << 32;
}

/* Count where everything is as it mostly is: the row has its slot. */
static __always_inline bool protocols_count_in_slot(u64 cpu, u64 ifindex, u64 kind, u64 packets, u64 bytes)
{
	struct protocols_block *block;
	struct protocols_slot *slot;

	if (unlikely(cpu >= PROTOCOLS_CPUS))
		return false;
	block = &protocols_blocks[cpu];
	slot = &block->slots[protocols_slot_at(ifindex, kind)];
	if (unlikely(slot->key != protocols_key_of(ifindex, kind)))
		return false;
	block->seen += packets;
	slot->packets += packets;
	slot->bytes += bytes;
	return true;
}

/* Count whatever comes; the only way to a row's first packet, so that nothing counts before active is set. */
static __always_inline int protocols_count(u64 ifindex, u64 kind, u64 packets, u64 bytes)
{
	u64 key = protocols_key_of(ifindex, kind), cpu = this_cpu();
	struct protocols_counters *counters;
	struct protocols_slot *slot;
	struct protocols_row *row;
	u32 first = 0;

	if (!active)
		return 0;
	if (likely(cpu < PROTOCOLS_CPUS)) {
		slot = &protocols_blocks[cpu].slots[protocols_slot_at(ifindex, kind)];
		if (slot->key == 0)
			slot->key = key;
		if (protocols_count_in_slot(cpu, ifindex, kind, packets, bytes))
			return 1;
		protocols_blocks[cpu].seen += packets;
	} else {
		counters = bpf_map_lookup_elem(&protocols_accounting, &first);
		if (!counters)
			return 0;
		counters->seen += packets;
	}
	row = protocols_row_of(key);
	if (row) {
		__sync_fetch_and_add(&row->packets, packets);
		__sync_fetch_and_add(&row->bytes, bytes);
	}
	return 2;
}

/* Not inlined: the way of plain frames stays short, and saves no registers. */
static __attribute__((noinline)) int xdp_count(struct xdp_md *ctx)
{
	struct packet packet;

	xdp_parse(ctx, &packet);
	return protocols_count(ctx->ingress_ifindex, kind_of(&packet), 1, ctx->data_end - ctx->data);
}

static __attribute__((noinline)) int skb_count(struct __sk_buff *skb, u64 direction, bool has_ethernet)
{
	struct packet packet;
	struct weight weight;

	skb_parse(skb, &packet, has_ethernet);
	weight = skb_weight(skb, &packet);
	return protocols_count(skb->ifindex, kind_of(&packet) | direction << KIND_DIRECTION_SHIFT, weight.packets,
			       weight.bytes);
}

/* Count a frame that is nothing special: a header of IPv4 or IPv6, behind an Ethernet header without tags. */
static __always_inline bool protocols_count_plain(const u8 *data, const u8 *data_end, u64 cpu, u64 ifindex,
						  u64 direction, u64 bytes)
{
	const u8 *network = data + sizeof(struct ethernet_header);
	u64 word, next_header;

	if (unlikely(network + sizeof(struct ipv4_header) > data_end))
		return false;
	word = *(const u32 *)(network - sizeof(u16));
	if (likely((word & PLAIN_IPV4_MASK) == PLAIN_IPV4))
		return protocols_count_in_slot(
			cpu, ifindex, KIND(4, direction) | network[offsetof(struct ipv4_header, protocol)], 1, bytes);
	if ((word & PLAIN_IPV6_MASK) != PLAIN_IPV6 || network + sizeof(struct ipv6_header) > data_end)
		return false;
	next_header = network[offsetof(struct ipv6_header, next_header)];
	return !is_extension(next_header) &&
	       protocols_count_in_slot(cpu, ifindex, KIND(6, direction) | next_header, 1, bytes);
}

SEC("xdp")
int protocols_xdp(struct xdp_md *ctx)
{
	u64 cpu = this_cpu();
	u8 *data = (u8 *)(long)ctx->data, *data_end = (u8 *)(long)ctx->data_end;
	int where;

	keep_pointers(data, data_end);
	if (likely(protocols_count_plain(data, data_end, cpu, ctx->ingress_ifindex, INGRESS, data_end - data)))
		return XDP_PASS;
	where = xdp_count(ctx);
	barrier_var(where);
	return XDP_PASS;
}

static __always_inline int protocols_of_skb(struct __sk_buff *skb, u64 direction, bool has_ethernet)
{
	u64 cpu = this_cpu();
	u8 *data = (u8 *)(long)skb->data, *data_end = (u8 *)(long)skb->data_end;
	int where;

	keep_pointers(data, data_end);
	if (has_ethernet && skb->gso_size == 0 &&
	    protocols_count_plain(data, data_end, cpu, skb->ifindex, direction, skb->len))
		return TC_ACT_UNSPEC;
	where = skb_count(skb, direction, has_ethernet);
	barrier_var(where);
	return TC_ACT_UNSPEC;
}

SEC("tc/ingress")
int protocols_ingress(struct __sk_buff *skb)
{
	return protocols_of_skb(skb, INGRESS, true);
}

SEC("tc/egress")
int protocols_egress(struct __sk_buff *skb)
{
	return protocols_of_skb(skb, EGRESS, true);
}

SEC("tc/ingress")
int protocols_ingress_bare(struct __sk_buff *skb)
{
	return protocols_of_skb(skb, INGRESS, false);
}

SEC("tc/egress")
int protocols_egress_bare(struct __sk_buff *skb)
{
	return protocols_of_skb(skb, EGRESS, false);
}

#endif
