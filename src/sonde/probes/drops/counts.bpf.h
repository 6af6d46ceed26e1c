/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table counts: drops by reason, function, protocol and interface. */
#ifndef SONDE_DROPS_COUNTS_BPF_H
#define SONDE_DROPS_COUNTS_BPF_H

#include "drop.bpf.h"

ACCOUNTING(counts, struct drop_counters, 1);

enum { ROWS_MAX = 4096 };

struct counts_key {
	sonde_kernel_ip_t function_ip;
	sonde_drop_reason_t reason;
	sonde_netns_t netns_id;
	/* As its namespace numbers it, which may not be ours: so the name comes along. */
	u32 ifindex;
	sonde_protocol_t protocol;
	sonde_ip_version_t ip_version;
	u8 padding;
};
_Static_assert(sizeof(struct counts_key) == 24, "hidden padding");

/* Under a flood one row counts on all CPUs at once: so each has its own. The name is there on the CPU of the first drop. */
struct counts_row {
	u64 packets;
	u64 bytes;
	sonde_last_ns_t last_seen_ns;
	sonde_interface_name_t interface[INTERFACE_LENGTH];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, ROWS_MAX);
	__type(key, struct counts_key);
	__type(value, struct counts_row);
} counts SEC(".maps");

/* What finds the table full. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counts_row);
} counts_other SEC(".maps");

static __always_inline struct counts_row *counts_row_of(const struct drop *drop)
{
	struct counts_row *row, fresh = {};
	struct counts_key key = {};
	struct headers headers;
	u32 other = 0;

	read_headers(drop, &headers);
	key.function_ip = drop->function_ip;
	key.reason = drop->reason;
	key.netns_id = drop->netns;
	key.ifindex = drop->ifindex;
	key.protocol = headers.protocol;
	key.ip_version = drop->ip_version;
	row = bpf_map_lookup_elem(&counts, &key);
	if (likely(row))
		return row;
	if (drop->device)
		bpf_probe_read_kernel_str(fresh.interface, sizeof(fresh.interface), &drop->device->name);
	/* Two CPUs may both find nothing: one of them makes the row, and both look it up again. */
	bpf_map_update_elem(&counts, &key, &fresh, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&counts, &key);
	return row ? row : bpf_map_lookup_elem(&counts_other, &other);
}

SEC("tp_btf/kfree_skb")
int counts_drop(u64 *ctx)
{
	struct drop_counters *counters;
	struct counts_row *row;
	u32 program = 0;
	struct drop drop;
	u64 weight;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&counts_accounting, &program);
	if (!counters)
		return 0;
	counters->seen++;
	read_drop(&drop, ctx);
	if (!drop_is_selected(&drop)) {
		counters->filtered++;
		return 0;
	}
	if (is_thinned_out(counters->seen)) {
		counters->thinned_out++;
		return 0;
	}
	weight = event_weight(&counters->thinned_out, &counters->represented);
	complete_drop(&drop);
	row = counts_row_of(&drop);
	if (!row)
		return 0;
	row->packets += weight;
	row->bytes += weight * drop.bytes;
	row->last_seen_ns = bpf_ktime_get_ns();
	return 0;
}

#endif
