/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The tables connect, accept and rtt: distributions by process and error. */
#ifndef SONDE_TCP_LATENCY_BPF_H
#define SONDE_TCP_LATENCY_BPF_H

#include "connection.bpf.h"
#include "histogram.bpf.h"

struct latency_key {
	sonde_boottime_ns_t process_start_ns;
	sonde_pid_t pid;
	/* Of a connect that failed. */
	sonde_errno_t error;
	u8 padding[2];
};
_Static_assert(sizeof(struct latency_key) == 16, "hidden padding");

struct latency_row {
	sonde_duration_ns_t duration_sum_ns;
	/* Two CPUs may write at once and the smaller be left: it is never below the last bucket but one that is not empty. */
	sonde_max_ns_t duration_max_ns;
	/* Connections that ended before anything was measured, or that began before us. */
	u64 unmeasured;
	/* How many in the last bucket are longer than it is. */
	u64 clamped;
	sonde_first_ns_t first_seen_ns;
	sonde_comm_t comm[COMM_LENGTH];
	sonde_bucket_t duration_buckets[HISTOGRAM_BUCKETS];
};
_Static_assert(sizeof(struct latency_row) == 56 + 8 * HISTOGRAM_BUCKETS, "hidden padding");

#define LATENCY_TABLE(name)                                                                                            \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                       \
		__uint(max_entries, ROWS_MAX);                                                                         \
		__type(key, struct latency_key);                                                                       \
		__type(value, struct latency_row);                                                                     \
	} name SEC(".maps");                                                                                           \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                               \
		__uint(max_entries, 1);                                                                                \
		__type(key, u32);                                                                                      \
		__type(value, struct latency_row);                                                                     \
	} name##_other SEC(".maps")

LATENCY_TABLE(connect);
LATENCY_TABLE(accept);
LATENCY_TABLE(rtt);

static const struct latency_row latency_row_new;

static __always_inline struct latency_row *latency_row_of(void *table, void *rest, const struct connection *connection,
							  u16 error)
{
	struct latency_key key = { connection->process_start_ns, connection->pid, error };
	struct latency_row *row = bpf_map_lookup_elem(table, &key);
	u32 other = 0;
	bool is_ours;

	if (row)
		return row;
	is_ours = bpf_map_update_elem(table, &key, &latency_row_new, BPF_NOEXIST) == 0;
	row = bpf_map_lookup_elem(table, &key);
	if (!row)
		return bpf_map_lookup_elem(rest, &other);
	if (is_ours) {
		row->first_seen_ns = bpf_ktime_get_ns();
		__builtin_memcpy(row->comm, connection->comm, COMM_LENGTH);
	}
	return row;
}

static __always_inline void latency_add(struct latency_row *row, u64 duration_ns)
{
	u64 bucket = HISTOGRAM_BUCKETS - 1;

	if (!row)
		return;
	if (duration_ns == DURATION_UNKNOWN) {
		__sync_fetch_and_add(&row->unmeasured, 1);
		return;
	}
	if (likely(duration_ns <= HISTOGRAM_MAX_NS))
		bucket = histogram_bucket(duration_ns);
	else
		__sync_fetch_and_add(&row->clamped, 1);
	/* The compiler knows the bound and would leave the check out; the verifier of 5.10 does not. */
	barrier_var(bucket);
	if (bucket < HISTOGRAM_BUCKETS)
		__sync_fetch_and_add(&row->duration_buckets[bucket], 1);
	__sync_fetch_and_add(&row->duration_sum_ns, duration_ns);
	if (duration_ns > row->duration_max_ns)
		row->duration_max_ns = duration_ns;
}

/* A connect that has succeeded or failed, an accept, a connection's end: once for each. */
static __always_inline void latency_count(struct tcp_counters *counters, const struct connection *connection)
{
	if (output == OUTPUT_CONNECT)
		latency_add(latency_row_of(MAP_HERE(connect), MAP_HERE(connect_other), connection, connection->error),
			    connection->connect_ns);
	if (output == OUTPUT_ACCEPT)
		latency_add(latency_row_of(MAP_HERE(accept), MAP_HERE(accept_other), connection, 0), connection->accept_ns);
	if (output == OUTPUT_RTT)
		latency_add(latency_row_of(MAP_HERE(rtt), MAP_HERE(rtt_other), connection, 0),
			    connection->total.rtt ? rtt_ns(connection->total.rtt) : DURATION_UNKNOWN);
}

#endif
