// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Packets that arrive at an interface: each meets the first rule that fits, is counted there, and passes or is dropped.
 * Frames that are not IP, and those that cannot be read, pass and are counted under what they are.
 */
#include "bucket.bpf.h"
#include "tables.bpf.h"

KNOB(bool, is_dry_run, false, "count what would be dropped, and let it pass");
KNOB(bool, drops_unparsed, false, "drop IP packets whose headers cannot be read");
KNOB(bool, has_ethernet, true, "frames begin with an Ethernet header; without it with IP's (tun, WireGuard)");
KNOB(u32, otherwise_rule, 0, "the verdict behind all rules': of packets that meet none");

/* Names the parser's reasons to Python, by its type. */
const volatile enum packet_reason packet_reasons = PACKET_REASONS;

enum action { ACTION_PASS = 0, ACTION_DROP, ACTION_RATE_LIMIT };

/* Slots that every set of rules has; those of rules begin behind them. */
enum {
	SLOT_OTHERWISE = 0,
	SLOT_NOT_IP,
	/* Plus the parser's reason. */
	SLOT_UNPARSED,
	/* Rules' slots are chosen by Python, behind these. */
	SLOT_FIRST_RULE = 16,
};
_Static_assert(SLOT_UNPARSED + PACKET_REASONS <= SLOT_FIRST_RULE, "the parser knows more reasons than there are slots");

struct verdict {
	struct refill packets;
	struct refill bytes;
	u32 slot;
	u32 action;
};

ARRAY(verdicts, struct verdict);

struct counted {
	u64 packets;
	u64 bytes;
};

struct counters {
	struct counted met;
	struct counted dropped;
	/* Of the dropped and passed ones of a rate limit: those that found no room for a bucket of their own. */
	u64 shared_bucket;
};

#define PER_CPU_ARRAY(name, entry)                                                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                               \
		__uint(max_entries, 1);                                                                                \
		__type(key, u32);                                                                                      \
		__type(value, entry);                                                                                  \
	} name SEC(".maps")

/* By slot. Maps that one set of rules hands on to the next: counters, seen and buckets. */
PER_CPU_ARRAY(counters, struct counters);
PER_CPU_ARRAY(seen, struct counted);

/* Whether a packet that met a rule is to be dropped. */
static __always_inline bool is_dropped(const struct verdict *verdict, const struct packet *packet, u64 length_bytes,
				       struct counters *counter)
{
	struct bucket *bucket;
	bool shared = false;
	u64 now_ns;

	if (likely(verdict->action != ACTION_RATE_LIMIT))
		return verdict->action == ACTION_DROP;
	now_ns = bpf_ktime_get_ns();
	bucket = bucket_of(packet, verdict->slot, &verdict->packets, &verdict->bytes, now_ns, &shared);
	if (shared)
		counter->shared_bucket++;
	/* Without a bucket there is no limit to keep: it is dropped, as what is above one. */
	return !bucket || !take(bucket, &verdict->packets, &verdict->bytes, length_bytes, now_ns);
}

static __always_inline int count(struct counters *counter, u64 length_bytes, bool dropped)
{
	counter->met.packets++;
	counter->met.bytes += length_bytes;
	if (!dropped)
		return XDP_PASS;
	counter->dropped.packets++;
	counter->dropped.bytes += length_bytes;
	return is_dry_run ? XDP_PASS : XDP_DROP;
}

/* Of an interface without link-layer headers the first four bits say which IP it is. */
static __always_inline void parse(struct xdp_md *ctx, struct packet *packet)
{
	struct packet_source source = xdp_source(ctx);
	const u8 *first = source.data;

	if (!has_ethernet) {
		source.has_ethernet = false;
		if ((void *)(first + 1) <= source.data_end)
			source.ethertype = *first >> 4 == 4 ? ETHERTYPE_IPV4 : *first >> 4 == 6 ? ETHERTYPE_IPV6 : 0;
	}
	packet_parse_once(&source, packet);
}

SEC("xdp")
int filter(struct xdp_md *ctx)
{
	u64 length_bytes = ctx->data_end - ctx->data;
	const struct verdict *verdict;
	struct counters *counter;
	struct counted *all;
	struct packet packet;
	u32 zero = 0, rule, slot;

	all = bpf_map_lookup_elem(&seen, &zero);
	if (!all)
		return XDP_PASS;
	all->packets++;
	all->bytes += length_bytes;
	parse(ctx, &packet);
	if (unlikely(packet.reason || !packet.ip_version)) {
		slot = packet.reason ? SLOT_UNPARSED + packet.reason : SLOT_NOT_IP;
		counter = bpf_map_lookup_elem(&counters, &slot);
		return counter ? count(counter, length_bytes, drops_unparsed && packet.reason) : XDP_PASS;
	}
	rule = first_rule(&packet, otherwise_rule);
	verdict = bpf_map_lookup_elem(&verdicts, &rule);
	if (!verdict)
		return XDP_PASS;
	slot = verdict->slot;
	counter = bpf_map_lookup_elem(&counters, &slot);
	if (!counter)
		return XDP_PASS;
	return count(counter, length_bytes, is_dropped(verdict, &packet, length_bytes, counter));
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
