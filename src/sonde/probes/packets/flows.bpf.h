/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table flows: packets, bytes, TCP flags, first and last time of each flow.
 *
 * A row of the hash is a number only, that of its cell, where each CPU counts for itself. So Python can take a row out of
 * the hash while its packets keep coming: what a program that had found the row still adds, it adds to the cell, and the
 * cell is read when no such program runs any more, and only then given to another row. Nothing is evicted, nothing is lost.
 * A flow that finds no free cell, or the hash full, is counted in flows_other.
 *
 * A packet takes one look-up in the hash; the first of a flow takes two, if another CPU has it at the same time.
 */
#ifndef SONDE_PACKETS_FLOWS_BPF_H
#define SONDE_PACKETS_FLOWS_BPF_H

#include "accounting.bpf.h"
#include "kind.bpf.h"
#include "knob.bpf.h"
#include "segments.bpf.h"

enum { FLOWS_ROWS = 8192 };

struct flows_counters {
	u64 seen;
	/* A note: cells that were taken for nothing and could not be put back. */
	u64 cells_left;
};

ACCOUNTING(flows, struct flows_counters, 1);

/* The ports are 0 where there are none: in later fragments, and in protocols without. */
struct flows_key {
	sonde_address_t source[16];
	sonde_address_t destination[16];
	sonde_ifindex_t ifindex;
	u16 source_port;
	u16 destination_port;
	sonde_protocol_t protocol;
	sonde_ip_version_t ip_version;
	sonde_direction_t direction;
};
_Static_assert(sizeof(struct flows_key) == 44, "hidden padding");

struct flows_row {
	sonde_cell_t cell;
};

struct flows_cell {
	u64 packets;
	u64 bytes;
	sonde_first_ns_t first_ns;
	sonde_last_ns_t last_ns;
	sonde_tcp_flags_t tcp_flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, FLOWS_ROWS);
	__type(key, struct flows_key);
	__type(value, struct flows_row);
} flows SEC(".maps");

/* Cell 0 is none. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FLOWS_ROWS + 1);
	__type(key, u32);
	__type(value, struct flows_cell);
} flows_cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, FLOWS_ROWS);
	__type(value, sonde_cell_t);
} flows_free SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct flows_cell);
} flows_other SEC(".maps");

enum bpf_func_id___flows {
	BPF_FUNC_ktime_get_coarse_ns___flows = 160,
};

/* To the tick, for a fraction of the clock's price; that came with Linux 5.11 (d05512618056). */
static __always_inline u64 flows_now_ns(void)
{
	if (bpf_core_enum_value_exists(enum bpf_func_id___flows, BPF_FUNC_ktime_get_coarse_ns___flows))
		return bpf_ktime_get_coarse_ns();
	return bpf_ktime_get_ns();
}

/* The row of a flow's first packet, or NULL where there is no room. */
static __attribute__((noinline)) u32 flows_insert(const struct flows_key *key, struct flows_counters *counters)
{
	struct flows_row fresh = {}, *row;

	if (!key || !counters || bpf_map_pop_elem(&flows_free, &fresh.cell))
		return 0;
	if (bpf_map_update_elem(&flows, key, &fresh, BPF_NOEXIST) == 0)
		return fresh.cell;
	/* Another CPU was faster, or the hash is full. */
	if (bpf_map_push_elem(&flows_free, &fresh.cell, 0))
		counters->cells_left++;
	row = bpf_map_lookup_elem(&flows, key);
	return row ? row->cell : 0;
}

/* IPv4's as ::ffff:a.b.c.d; zeros where there is none, or where the headers make no sense. */
static __always_inline void flows_address(sonde_address_t *into, const union packet_address *address,
					  const struct packet *packet)
{
	u32 *words = (u32 *)into, version = packet->reason ? 0 : packet->ip_version;

	words[0] = version == 6 ? address->words[0] : 0;
	words[1] = version == 6 ? address->words[1] : 0;
	words[2] = version == 6 ? address->words[2] : version == 4 ? bpf_htonl(0xffff) : 0;
	words[3] = version == 6 ? address->words[3] : version == 4 ? address->words[0] : 0;
}

static __always_inline void flows_count(const struct packet *packet, u32 ifindex, u64 direction, struct weight weight)
{
	u64 kind = kind_of(packet), now_ns;
	struct flows_counters *counters;
	struct flows_cell *cell;
	struct flows_row *row;
	u32 first = 0, number;
	struct flows_key key;

	counters = bpf_map_lookup_elem(&flows_accounting, &first);
	if (!counters)
		return;
	counters->seen += weight.packets;
	flows_address(key.source, &packet->source, packet);
	flows_address(key.destination, &packet->destination, packet);
	key.ifindex = ifindex;
	key.source_port = packet->source_port;
	key.destination_port = packet->destination_port;
	key.protocol = kind;
	key.ip_version = packet->ip_version;
	key.direction = direction;
	row = bpf_map_lookup_elem(&flows, &key);
	number = row ? row->cell : flows_insert(&key, counters);
	cell = number ? bpf_map_lookup_elem(&flows_cells, &number) : bpf_map_lookup_elem(&flows_other, &first);
	if (!cell)
		return;
	now_ns = flows_now_ns();
	if (!cell->first_ns)
		cell->first_ns = now_ns;
	cell->last_ns = now_ns;
	cell->packets += weight.packets;
	cell->bytes += weight.bytes;
	cell->tcp_flags |= packet->tcp_flags;
}

SEC("xdp")
int flows_xdp(struct xdp_md *ctx)
{
	struct packet packet;

	if (!active)
		return XDP_PASS;
	xdp_parse(ctx, &packet);
	flows_count(&packet, ctx->ingress_ifindex, INGRESS, (struct weight){ 1, ctx->data_end - ctx->data });
	return XDP_PASS;
}

static __always_inline int flows_of_skb(struct __sk_buff *skb, u64 direction, bool has_ethernet)
{
	struct packet packet;

	if (!active)
		return TC_ACT_UNSPEC;
	skb_parse(skb, &packet, has_ethernet);
	flows_count(&packet, skb->ifindex, direction, skb_weight(skb, &packet));
	return TC_ACT_UNSPEC;
}

SEC("tc/ingress")
int flows_ingress(struct __sk_buff *skb)
{
	return flows_of_skb(skb, INGRESS, true);
}

SEC("tc/egress")
int flows_egress(struct __sk_buff *skb)
{
	return flows_of_skb(skb, EGRESS, true);
}

SEC("tc/ingress")
int flows_ingress_bare(struct __sk_buff *skb)
{
	return flows_of_skb(skb, INGRESS, false);
}

SEC("tc/egress")
int flows_egress_bare(struct __sk_buff *skb)
{
	return flows_of_skb(skb, EGRESS, false);
}

#endif
