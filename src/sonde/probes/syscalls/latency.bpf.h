/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table latency: how often, how long, with what error. */
#ifndef SONDE_SYSCALLS_LATENCY_BPF_H
#define SONDE_SYSCALLS_LATENCY_BPF_H

#include "call.bpf.h"
#include "histogram.bpf.h"

ACCOUNTING(latency, struct syscall_counters, PROGRAMS);

struct latency_row {
	sonde_duration_ns_t duration_sum_ns;
	/* Two CPUs may write at once and the smaller be left: it is never below the last bucket but one that is not empty. */
	sonde_max_ns_t duration_max_ns;
	u64 untimed;
	/* How many in the last bucket are longer than it is. */
	u64 clamped;
	sonde_first_ns_t first_seen_ns;
	sonde_comm_t comm[COMM_LENGTH];
	sonde_bucket_t duration_buckets[HISTOGRAM_BUCKETS];
};
_Static_assert(sizeof(struct latency_row) == 56 + 8 * HISTOGRAM_BUCKETS, "hidden padding");

/* One row for all CPUs, added to atomically: rows per CPU would take a gigabyte at 128 of them. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ROWS_MAX);
	__type(key, struct syscall_key);
	__type(value, struct latency_row);
} latency SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct latency_row);
} latency_other SEC(".maps");

static const struct latency_row latency_row_new;

/* A new row, or where the map is full the one for all others. Another CPU may make the row at the same moment. */
static __noinline struct latency_row *latency_insert(const struct syscall_key *key, const struct task_struct *task)
{
	bool is_ours = bpf_map_update_elem(&latency, key, &latency_row_new, BPF_NOEXIST) == 0;
	struct latency_row *row = bpf_map_lookup_elem(&latency, key);
	u32 other = 0;

	if (!row)
		return bpf_map_lookup_elem(&latency_other, &other);
	if (is_ours) {
		row->first_seen_ns = bpf_ktime_get_ns();
		read_comm(row->comm, task);
	}
	return row;
}

static __always_inline void latency_add(const struct call *call)
{
	union syscall_key_words key = key_of(&call->process, call->number, call->abi, call->error);
	struct latency_row *row = bpf_map_lookup_elem(&latency, &key);
	u64 bucket = HISTOGRAM_BUCKETS - 1;

	if (!row)
		row = latency_insert(&key.key, call->process.task);
	if (!row)
		return;
	if (call->duration_ns == DURATION_UNKNOWN) {
		__sync_fetch_and_add(&row->untimed, call->weight);
		return;
	}
	if (likely(call->duration_ns <= HISTOGRAM_MAX_NS))
		bucket = histogram_bucket(call->duration_ns);
	else
		__sync_fetch_and_add(&row->clamped, call->weight);
	/* The compiler knows the bound and would leave the check out; the verifier of 5.10 does not. */
	barrier_var(bucket);
	if (bucket < HISTOGRAM_BUCKETS)
		__sync_fetch_and_add(&row->duration_buckets[bucket], call->weight);
	__sync_fetch_and_add(&row->duration_sum_ns, call->duration_ns * call->weight);
	if (call->duration_ns > row->duration_max_ns)
		row->duration_max_ns = call->duration_ns;
}

SEC("tp_btf/sys_enter")
int latency_enter(u64 *ctx)
{
	struct syscall_counters *counters;
	u32 program = PROGRAM_ENTER;
	struct call call;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&latency_accounting, &program);
	if (!counters)
		return 0;
	call = call_at_enter(ctx);
	if (!syscall_never_returns(call.number, call.abi))
		call_begins(counters, &call, false);
	else if (call_never_returns(counters, &call, false))
		latency_add(&call);
	return 0;
}

SEC("tp_btf/sys_exit")
int latency_exit(u64 *ctx)
{
	struct syscall_counters *counters;
	u32 program = PROGRAM_EXIT;
	struct call call;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&latency_accounting, &program);
	if (!counters)
		return 0;
	call = call_at_exit(ctx);
	if (call_ends(counters, &call, false))
		latency_add(&call);
	return 0;
}

#endif
