/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table lifetimes: how long processes lived that have ended, by name, cgroup and end. */
#ifndef SONDE_PROCESSES_LIFETIMES_BPF_H
#define SONDE_PROCESSES_LIFETIMES_BPF_H

#include "histogram.bpf.h"
#include "outcome.bpf.h"

ACCOUNTING(lifetimes, struct table_counters, PROGRAMS);

struct lifetimes_row {
	sonde_duration_ns_t lifetime_sum_ns;
	/* Two CPUs may write at once and the smaller be left: it is never below the last bucket but one that is not empty. */
	sonde_max_ns_t lifetime_max_ns;
	/* How many in the last bucket are longer than it is. */
	u64 clamped;
	sonde_bucket_t lifetime_buckets[HISTOGRAM_BUCKETS];
};
_Static_assert(sizeof(struct lifetimes_row) == 24 + 8 * HISTOGRAM_BUCKETS, "hidden padding");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ROWS_MAX);
	__type(key, struct outcome_key);
	__type(value, struct lifetimes_row);
} lifetimes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct lifetimes_row);
} lifetimes_other SEC(".maps");

static const struct lifetimes_row lifetimes_row_new;

static __always_inline void lifetimes_add(const struct outcome_key *key, u64 lifetime_ns)
{
	struct lifetimes_row *row = bpf_map_lookup_elem(&lifetimes, key);
	u64 bucket = HISTOGRAM_BUCKETS - 1;
	u32 other = 0;

	if (!row) {
		bpf_map_update_elem(&lifetimes, key, &lifetimes_row_new, BPF_NOEXIST);
		row = bpf_map_lookup_elem(&lifetimes, key);
	}
	if (!row)
		row = bpf_map_lookup_elem(&lifetimes_other, &other);
	if (!row)
		return;
	if (lifetime_ns <= HISTOGRAM_MAX_NS)
		bucket = histogram_bucket(lifetime_ns);
	else
		__sync_fetch_and_add(&row->clamped, 1);
	/* The compiler knows the bound and would leave the check out; the verifier of 5.10 does not. */
	barrier_var(bucket);
	if (bucket < HISTOGRAM_BUCKETS)
		__sync_fetch_and_add(&row->lifetime_buckets[bucket], 1);
	__sync_fetch_and_add(&row->lifetime_sum_ns, lifetime_ns);
	if (lifetime_ns > row->lifetime_max_ns)
		row->lifetime_max_ns = lifetime_ns;
}

SEC("tp_btf/sched_process_exit")
int lifetimes_exit(u64 *ctx)
{
	struct table_counters *counters;
	u32 program = PROGRAM_EXIT;
	enum ending_verdict verdict;
	struct outcome_key key;
	struct event event;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&lifetimes_accounting, &program);
	if (!counters)
		return 0;
	verdict = end_of_process(ctx, &event);
	if (verdict == END_IS_NONE)
		return 0;
	counters->seen++;
	if (verdict == END_IS_FILTERED) {
		counters->filtered++;
		return 0;
	}
	key = outcome_at_exit(&event);
	lifetimes_add(&key, lifetime_of(&event.process));
	return 0;
}

#endif
