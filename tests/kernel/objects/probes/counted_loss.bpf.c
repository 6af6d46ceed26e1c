// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Three small rings that one process fills: one counts its loss in a map, one in a variable, one nowhere. */
#include "accounting.bpf.h"
#include "kernel.bpf.h"

#define SMALL_RING(name)                                                                                               \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                                    \
		__uint(max_entries, 4096);                                                                             \
	} name SEC(".maps")

struct mapped_counters {
	u64 seen;
	u64 lost_ring_full;
};

ACCOUNTING(mapped, struct mapped_counters, 1);
SMALL_RING(mapped);
SMALL_RING(told);
SMALL_RING(silent);

u64 told_lost;

const volatile u32 target;
const volatile u64 wanted;

static __always_inline bool write_to(void *ring)
{
	u64 *word = bpf_ringbuf_reserve(ring, sizeof(*word), 0);

	if (!word)
		return false;
	*word = wanted;
	bpf_ringbuf_submit(word, 0);
	return true;
}

SEC("raw_tp/sys_enter")
int on_call(u64 *ctx)
{
	struct mapped_counters *counters;
	u32 key = 0;

	if (bpf_get_current_pid_tgid() >> 32 != target || ctx[1] != wanted)
		return 0;
	counters = bpf_map_lookup_elem(&mapped_accounting, &key);
	if (!counters)
		return 0;
	counters->seen++;
	if (!write_to(&mapped))
		counters->lost_ring_full++;
	if (!write_to(&told))
		__sync_fetch_and_add(&told_lost, 1);
	write_to(&silent);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
