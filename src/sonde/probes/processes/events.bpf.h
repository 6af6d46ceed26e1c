/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table events: how many processes were forked, ran a program, and ended how; by name and cgroup. */
#ifndef SONDE_PROCESSES_EVENTS_BPF_H
#define SONDE_PROCESSES_EVENTS_BPF_H

#include "outcome.bpf.h"

ACCOUNTING(events, struct table_counters, PROGRAMS);

struct events_row {
	u64 forks;
	u64 execs;
	u64 exits;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ROWS_MAX);
	__type(key, struct outcome_key);
	__type(value, struct events_row);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct events_row);
} events_other SEC(".maps");

static const struct events_row events_row_new;

static __always_inline struct events_row *events_row_of(const struct outcome_key *key)
{
	struct events_row *row = bpf_map_lookup_elem(&events, key);
	u32 other = 0;

	if (row)
		return row;
	/* Two CPUs may both find nothing: one of them makes the row, and both look it up again. */
	bpf_map_update_elem(&events, key, &events_row_new, BPF_NOEXIST);
	row = bpf_map_lookup_elem(&events, key);
	return row ? row : bpf_map_lookup_elem(&events_other, &other);
}

static __always_inline struct table_counters *events_counters_of(u32 program)
{
	return active ? bpf_map_lookup_elem(&events_accounting, &program) : NULL;
}

SEC("tp_btf/sched_process_fork")
int events_fork(u64 *ctx)
{
	struct table_counters *counters = events_counters_of(PROGRAM_FORK);
	struct outcome_key key;
	struct events_row *row;
	struct event event;

	if (!counters || !is_new_process(ctx))
		return 0;
	counters->seen++;
	event = event_of_fork(ctx);
	if (!event_is_selected(&event)) {
		counters->filtered++;
		return 0;
	}
	key = outcome_of(&event);
	row = events_row_of(&key);
	if (row)
		__sync_fetch_and_add(&row->forks, 1);
	return 0;
}

SEC("tp_btf/sched_process_exec")
int events_exec(u64 *ctx)
{
	struct table_counters *counters = events_counters_of(PROGRAM_EXEC);
	struct outcome_key key;
	struct events_row *row;
	struct event event;

	if (!counters)
		return 0;
	counters->seen++;
	event = event_of_current();
	if (!event_is_selected(&event)) {
		counters->filtered++;
		return 0;
	}
	key = outcome_of(&event);
	row = events_row_of(&key);
	if (row)
		__sync_fetch_and_add(&row->execs, 1);
	return 0;
}

SEC("tp_btf/sched_process_exit")
int events_exit(u64 *ctx)
{
	struct table_counters *counters = events_counters_of(PROGRAM_EXIT);
	enum ending_verdict verdict;
	struct outcome_key key;
	struct events_row *row;
	struct event event;

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
	row = events_row_of(&key);
	if (row)
		__sync_fetch_and_add(&row->exits, 1);
	return 0;
}

#endif
