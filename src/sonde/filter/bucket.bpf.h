/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Token buckets, one for each source and rule. A level is in units of time times packets (or bytes), see filter/rate.py:
 * integers all the way, and nothing is divided.
 */
#ifndef SONDE_FILTER_BUCKET_BPF_H
#define SONDE_FILTER_BUCKET_BPF_H

#include "packet.bpf.h"

/* What comes in a nanosecond, what one packet or byte costs, what there may be, and after which time that is reached. */
struct refill {
	u64 per_ns;
	u64 cost;
	u64 full;
	u64 fill_ns;
};

struct bucket_key {
	u64 address[2];
	u32 slot;
	/* 4 or 6; 0 with the address 0 is the one that all sources share for which there is no room. */
	u32 ip_version;
};

struct bucket {
	u64 last_ns;
	u64 packets;
	u64 bytes;
	struct bpf_spin_lock lock;
	u32 padding;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct bucket_key);
	__type(value, struct bucket);
} buckets SEC(".maps");

/* What is in a bucket after some time: the product cannot overflow, for it stays below full plus per_ns. */
static __always_inline u64 refilled(u64 level, u64 elapsed_ns, const struct refill *refill)
{
	if (elapsed_ns >= refill->fill_ns)
		return refill->full;
	level += elapsed_ns * refill->per_ns;
	return level > refill->full ? refill->full : level;
}

/* A source's bucket: its own, a new and full one, or, with *shared set, the one that is there for all others. */
static __always_inline struct bucket *bucket_of(const struct packet *packet, u32 slot, const struct refill *packets,
						const struct refill *bytes, u64 now_ns, bool *shared)
{
	struct bucket_key key = {
		.address = { packet->source.halves[0], packet->source.halves[1] },
		.slot = slot,
		.ip_version = packet->ip_version,
	};
	struct bucket *bucket = bpf_map_lookup_elem(&buckets, &key);
	struct bucket fresh = {};

	if (likely(bucket))
		return bucket;
	fresh.last_ns = now_ns;
	fresh.packets = packets->full;
	fresh.bytes = bytes->full;
	/* Two CPUs may both find nothing: one of them makes it, and both look it up again. */
	bpf_map_update_elem(&buckets, &key, &fresh, BPF_NOEXIST);
	bucket = bpf_map_lookup_elem(&buckets, &key);
	if (bucket)
		return bucket;
	*shared = true;
	key.address[0] = key.address[1] = 0;
	key.ip_version = 0;
	return bpf_map_lookup_elem(&buckets, &key);
}

/* Take what a packet costs out of a bucket; false where there is not enough, and then nothing is taken. */
static __always_inline bool take(struct bucket *bucket, const struct refill *packets, const struct refill *bytes,
				 u64 length_bytes, u64 now_ns)
{
	u64 packets_cost = packets->cost, bytes_cost = bytes->cost * length_bytes;
	u64 elapsed_ns, packets_level, bytes_level;
	struct refill per_packet = *packets, per_byte = *bytes;
	bool is_enough;

	bpf_spin_lock(&bucket->lock);
	/* Another CPU's clock may be a little ahead. */
	elapsed_ns = now_ns > bucket->last_ns ? now_ns - bucket->last_ns : 0;
	packets_level = refilled(bucket->packets, elapsed_ns, &per_packet);
	bytes_level = refilled(bucket->bytes, elapsed_ns, &per_byte);
	is_enough = packets_level >= packets_cost && bytes_level >= bytes_cost;
	if (is_enough) {
		packets_level -= packets_cost;
		bytes_level -= bytes_cost;
	}
	bucket->packets = packets_level;
	bucket->bytes = bytes_level;
	bucket->last_ns += elapsed_ns;
	bpf_spin_unlock(&bucket->lock);
	return is_enough;
}

#endif
