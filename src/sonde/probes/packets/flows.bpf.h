/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The table flows: packets, bytes, TCP flags, first and last time of each flow.
 *
 * A row of the hash is a number only, that of its cell, where each CPU counts for itself. So Python can take a row out of
 * the hash while its packets keep coming: what a program that had found the row still adds, it adds to the cell, and the
 * cell is read when no such program runs any more, and only then given to another row. Nothing is evicted, nothing is lost.
 * A flow that finds no free cell, or the hash full, is counted in flows_other.
 *
 * A packet takes one look-up in the hash; the first of a flow takes two, if another CPU has it at the same time. Packets of
 * one flow come in a row, so each CPU remembers where it counted those of the last flows (recent), and mostly takes none.
 */
#ifndef SONDE_PACKETS_FLOWS_BPF_H
#define SONDE_PACKETS_FLOWS_BPF_H

#include "accounting.bpf.h"
#include "kind.bpf.h"
#include "knob.bpf.h"
#include "segments.bpf.h"

enum { FLOWS_CPUS = 256, FLOWS_RECENT = 64, FLOWS_ROWS = 8192 };

struct flows_counters {
	/* By CPUs that have no block. */
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

/* The same as words, the last one filled up with zeros. */
union flows_words {
	struct flows_key key;
	u64 words[6];
};

struct flows_row {
	sonde_cell_t cell;
};

/* A flow's cell, as long as the generation is the same. */
struct flows_recent {
	u64 words[6];
	u32 generation;
	u32 cell;
	u64 padding;
};

struct flows_block {
	u64 seen;
	u64 padding[7];
	struct flows_recent recent[FLOWS_RECENT];
};
_Static_assert(sizeof(struct flows_block) % 64 == 0, "CPUs would share a cache line");

struct flows_block flows_blocks[FLOWS_CPUS];

/* Python adds one before it gives away cells of rows that it took out: then no CPU remembers any. In a map of its own. */
volatile u32 flows_generation SEC(".data.flows") = 1;

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

static __always_inline void flows_add(struct flows_cell *cell, u64 packets, u64 bytes, u64 tcp_flags)
{
	u64 now_ns = flows_now_ns();

	if (unlikely(!cell->first_ns))
		cell->first_ns = now_ns;
	cell->last_ns = now_ns;
	cell->packets += packets;
	cell->bytes += bytes;
	cell->tcp_flags |= tcp_flags;
}

/* Where a CPU remembers a flow: spread by the last words of its addresses, and by its ports. */
static __always_inline u64 flows_recent_at(u64 source, u64 destination, u64 ports)
{
	return ((source ^ destination >> 32 ^ destination ^ ports) * 0x9e3779b97f4a7c15ULL) >> 58;
}
_Static_assert(FLOWS_RECENT == 1 << (64 - 58), "all are used");

/* IPv4's as ::ffff:a.b.c.d; zeros where there is none, or where the headers make no sense. */
static __always_inline u64 flows_mapped(u32 address)
{
	return (u64)address << 32 | bpf_htonl(0xffff);
}

static __always_inline void flows_words_of(union flows_words *flow, const struct packet *packet, u64 ifindex,
					   u64 direction)
{
	u32 version = packet->reason ? 0 : packet->ip_version;

	__builtin_memset(flow, 0, sizeof(*flow));
	if (version == 4) {
		flow->words[1] = flows_mapped(packet->source.words[0]);
		flow->words[3] = flows_mapped(packet->destination.words[0]);
	} else if (version == 6) {
		flow->words[0] = packet->source.halves[0];
		flow->words[1] = packet->source.halves[1];
		flow->words[2] = packet->destination.halves[0];
		flow->words[3] = packet->destination.halves[1];
	}
	flow->words[4] = ifindex | (u64)packet->source_port << 32 | (u64)packet->destination_port << 48;
	flow->words[5] = kind_of(packet) | direction << KIND_DIRECTION_SHIFT;
}

/* Count whatever comes, by the hash; and remember where. */
static __always_inline int flows_count(const struct packet *packet, u64 ifindex, u64 direction, struct weight weight)
{
	/* Read before the hash is: what is remembered must not be newer than what was found. */
	u32 generation = flows_generation, first = 0, number;
	struct flows_counters *counters;
	struct flows_recent *recent;
	struct flows_cell *cell;
	union flows_words flow;
	struct flows_row *row;
	u64 cpu = this_cpu();

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&flows_accounting, &first);
	if (!counters)
		return 0;
	flows_words_of(&flow, packet, ifindex, direction);
	row = bpf_map_lookup_elem(&flows, &flow.key);
	number = row ? row->cell : flows_insert(&flow.key, counters);
	if (likely(cpu < FLOWS_CPUS)) {
		flows_blocks[cpu].seen += weight.packets;
		recent = &flows_blocks[cpu].recent[flows_recent_at(flow.words[1], flow.words[3], flow.words[4])];
		__builtin_memcpy(recent->words, flow.words, sizeof(recent->words));
		recent->generation = number ? generation : 0;
		recent->cell = number;
	} else {
		counters->seen += weight.packets;
	}
	cell = number ? bpf_map_lookup_elem(&flows_cells, &number) : bpf_map_lookup_elem(&flows_other, &first);
	if (cell)
		flows_add(cell, weight.packets, weight.bytes, packet->tcp_flags);
	return 1;
}

/* Not inlined, as in protocols.bpf.h: packets of flows that are remembered take the short way. */
static __attribute__((noinline)) int flows_count_xdp(struct xdp_md *ctx)
{
	struct packet packet;

	xdp_parse(ctx, &packet);
	return flows_count(&packet, ctx->ingress_ifindex, INGRESS, (struct weight){ 1, ctx->data_end - ctx->data });
}

static __attribute__((noinline)) int flows_count_skb(struct __sk_buff *skb, u64 direction, bool has_ethernet)
{
	struct packet packet;

	skb_parse(skb, &packet, has_ethernet);
	return flows_count(&packet, skb->ifindex, direction, skb_weight(skb, &packet));
}

/* Count a packet of a flow that this CPU remembers. */
static __always_inline bool flows_count_recent(u64 cpu, const u64 *words, u64 bytes, u64 tcp_flags)
{
	struct flows_recent *recent;
	struct flows_cell *cell;
	u32 number;

	if (unlikely(cpu >= FLOWS_CPUS))
		return false;
	recent = &flows_blocks[cpu].recent[flows_recent_at(words[1], words[3], words[4])];
	if (recent->words[4] != words[4] || recent->words[1] != words[1] || recent->words[3] != words[3] ||
	    recent->words[5] != words[5] || recent->words[0] != words[0] || recent->words[2] != words[2] ||
	    recent->generation != flows_generation)
		return false;
	number = recent->cell;
	cell = bpf_map_lookup_elem(&flows_cells, &number);
	if (!cell)
		return false;
	flows_blocks[cpu].seen++;
	flows_add(cell, 1, bytes, tcp_flags);
	return true;
}

struct ports_header {
	u16 source;
	u16 destination;
	u8 rest[9];
	u8 tcp_flags;
	u8 behind[6];
};
_Static_assert(sizeof(struct ports_header) == 20, "as TCP's on the wire");

enum { UDP_BYTES = 8 };

/* Count a frame that is nothing special: TCP or UDP, whole, behind a plain header; false if it is another, or not remembered. */
static __always_inline bool flows_count_plain(const u8 *data, const u8 *data_end, u64 cpu, u64 ifindex, u64 direction,
					      u64 bytes)
{
	const u8 *network = data + sizeof(struct ethernet_header);
	const struct ipv4_header *ipv4 = (const void *)network;
	const struct ipv6_header *ipv6 = (const void *)network;
	u64 word, words[6] = {}, protocol, length, flags = 0;
	const struct ports_header *ports;

	if (unlikely(network + sizeof(*ipv4) + UDP_BYTES > data_end))
		return false;
	word = *(const u32 *)(network - sizeof(u16));
	if (likely((word & PLAIN_IPV4_MASK) == PLAIN_IPV4)) {
		if (ipv4->fragment & bpf_htons(IPV4_MORE_FRAGMENTS | IPV4_FRAGMENT_OFFSET))
			return false;
		words[1] = flows_mapped(ipv4->source);
		words[3] = flows_mapped(ipv4->destination);
		words[5] = KIND(4, direction);
		protocol = ipv4->protocol;
		length = bpf_ntohs(ipv4->total_length) - sizeof(*ipv4);
		ports = (const void *)(ipv4 + 1);
	} else {
		if ((word & PLAIN_IPV6_MASK) != PLAIN_IPV6 || network + sizeof(*ipv6) + UDP_BYTES > data_end)
			return false;
		words[0] = ipv6->source[0];
		words[1] = ipv6->source[1];
		words[2] = ipv6->destination[0];
		words[3] = ipv6->destination[1];
		words[5] = KIND(6, direction);
		protocol = ipv6->next_header;
		length = bpf_ntohs(ipv6->payload_length);
		ports = (const void *)(ipv6 + 1);
	}
	/* A length of less is no length, or leaves the header incomplete. */
	if ((s64)length < UDP_BYTES)
		return false;
	if (protocol == PROTOCOL_TCP) {
		if ((s64)length < (s64)sizeof(*ports) || (const u8 *)(ports + 1) > data_end)
			return false;
		flags = ports->tcp_flags;
	} else if (protocol != PROTOCOL_UDP) {
		return false;
	}
	words[4] = ifindex | (u64)bpf_ntohs(ports->source) << 32 | (u64)bpf_ntohs(ports->destination) << 48;
	words[5] |= protocol;
	return flows_count_recent(cpu, words, bytes, flags);
}

SEC("xdp")
int flows_xdp(struct xdp_md *ctx)
{
	u64 cpu = this_cpu();
	u8 *data = (u8 *)(long)ctx->data, *data_end = (u8 *)(long)ctx->data_end;
	int how;

	keep_pointers(data, data_end);
	if (flows_count_plain(data, data_end, cpu, ctx->ingress_ifindex, INGRESS, data_end - data))
		return XDP_PASS;
	how = flows_count_xdp(ctx);
	barrier_var(how);
	return XDP_PASS;
}

static __always_inline int flows_of_skb(struct __sk_buff *skb, u64 direction, bool has_ethernet)
{
	u64 cpu = this_cpu();
	u8 *data = (u8 *)(long)skb->data, *data_end = (u8 *)(long)skb->data_end;
	int how;

	keep_pointers(data, data_end);
	if (has_ethernet && skb->gso_size == 0 &&
	    flows_count_plain(data, data_end, cpu, skb->ifindex, direction, skb->len))
		return TC_ACT_UNSPEC;
	how = flows_count_skb(skb, direction, has_ethernet);
	barrier_var(how);
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
