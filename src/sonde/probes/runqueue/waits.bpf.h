/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table waits: how often and how long, by process and CPU. */
#ifndef SONDE_RUNQUEUE_WAITS_BPF_H
#define SONDE_RUNQUEUE_WAITS_BPF_H

#include "histogram.bpf.h"
#include "wait.bpf.h"

struct waits_key {
	sonde_boottime_ns_t process_start_ns;
	sonde_pid_t pid;
	/* Where the thread got to run. */
	u32 cpu;
};
_Static_assert(sizeof(struct waits_key) == 16, "hidden padding");

struct waits_row {
	sonde_duration_ns_t duration_sum_ns;
	/* Two CPUs never write one row at once, but in waits_other, of which each has its own. */
	sonde_max_ns_t duration_max_ns;
	/* Waits whose beginning was not seen. */
	u64 untimed;
	/* How many in the last bucket are longer than it is. */
	u64 clamped;
	sonde_first_ns_t first_seen_ns;
	sonde_comm_t comm[COMM_LENGTH];
	sonde_bucket_t duration_buckets[HISTOGRAM_BUCKETS];
};
_Static_assert(sizeof(struct waits_row) == 56 + 8 * HISTOGRAM_BUCKETS, "hidden padding");

/* Python gives it more room on machines with many CPUs. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct waits_key);
	__type(value, struct waits_row);
} waits SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct waits_row);
} waits_other SEC(".maps");

static const struct waits_row waits_row_new;

/* A new row, or where the map is full the one for all others. */
static __noinline struct waits_row *waits_insert(const struct waits_key *key, const struct task_struct *task)
{
	struct waits_row *row;
	u32 other = 0;

	bpf_map_update_elem(&waits, key, &waits_row_new, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&waits, key);
	if (!row)
		return bpf_map_lookup_elem(&waits_other, &other);
	row->first_seen_ns = bpf_ktime_get_ns();
	read_comm(row->comm, task);
	return row;
}

/* Without atomics: a row is of one CPU, and nothing else runs there meanwhile, for the scheduler has interrupts off. */
static __always_inline void waits_add(const struct wait *wait)
{
	struct waits_key key = { wait->process.start_ns, wait->process.pid, bpf_get_smp_processor_id() };
	struct waits_row *row = bpf_map_lookup_elem(&waits, &key);
	u64 bucket = HISTOGRAM_BUCKETS - 1;

	if (!row)
		row = waits_insert(&key, wait->process.task);
	if (!row)
		return;
	if (unlikely(wait->duration_ns == DURATION_UNKNOWN)) {
		row->untimed += wait->weight;
		return;
	}
	if (likely(wait->duration_ns <= HISTOGRAM_MAX_NS))
		bucket = histogram_bucket(wait->duration_ns);
	else
		row->clamped += wait->weight;
	/* The compiler knows the bound and would leave the check out; the verifier of 5.10 does not. */
	barrier_var(bucket);
	if (bucket < HISTOGRAM_BUCKETS)
		row->duration_buckets[bucket] += wait->weight;
	row->duration_sum_ns += wait->duration_ns * wait->weight;
	if (wait->duration_ns > row->duration_max_ns)
		row->duration_max_ns = wait->duration_ns;
}

#endif
