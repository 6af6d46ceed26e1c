/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The table counts: one hook, no clock. */
#ifndef SONDE_SYSCALLS_COUNTS_BPF_H
#define SONDE_SYSCALLS_COUNTS_BPF_H

#include "call.bpf.h"

ACCOUNTING(counts, struct syscall_counters, 1);

/*
 * A process that calls much calls on many CPUs, and its row would wander between them. So a row has a cell, one counter
 * per CPU, and each CPU remembers in its slots which cells it used last: mostly nothing is looked up in the hash, which
 * costs half of all. A row's count is count and its cell's counters together. Cells are numbered from 1; Python puts
 * free ones into counts_free. Where there is none left, rows are counted in count alone.
 */
struct counts_row {
	u64 count;
	sonde_first_ns_t first_seen_ns;
	sonde_comm_t comm[COMM_LENGTH];
	sonde_cell_t cell;
	u32 padding;
};
_Static_assert(sizeof(struct counts_row) == 40, "hidden padding");

struct counts_slot {
	u64 words[3];
	u64 cell;
};

enum { COUNTS_SLOTS = 512 };

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, ROWS_MAX);
	__type(key, struct syscall_key);
	__type(value, struct counts_row);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct counts_row);
} counts_other SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, ROWS_MAX + 1);
	__type(key, u32);
	__type(value, u64);
} counts_cells SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_QUEUE);
	__uint(max_entries, ROWS_MAX);
	__type(value, sonde_cell_t);
} counts_free SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTS_SLOTS);
	__type(key, u32);
	__type(value, struct counts_slot);
} counts_slots SEC(".maps");

static const struct counts_row counts_row_new;

/* The row of a key that has none, or NULL when the map is full. Another CPU may make it at the same moment. */
static __always_inline struct counts_row *counts_insert(const struct syscall_key *key, const struct task_struct *task)
{
	bool is_ours = bpf_map_update_elem(&counts, key, &counts_row_new, BPF_NOEXIST) == 0;
	struct counts_row *row = bpf_map_lookup_elem(&counts, key);
	u32 cell;

	if (row && is_ours) {
		row->first_seen_ns = bpf_ktime_get_ns();
		read_comm(row->comm, task);
		if (bpf_map_pop_elem(&counts_free, &cell) == 0)
			row->cell = cell;
	}
	return row;
}

/* By the hash, and note the cell in the slot for the next time. Not inlined: the way through the slot stays short. */
static __noinline int count_in_row(u64 word_0, u64 word_1, u64 word_2, struct counts_slot *slot, u64 weight)
{
	union syscall_key_words key = { .words = { word_0, word_1, word_2 } };
	struct counts_row *row = bpf_map_lookup_elem(&counts, &key);
	u32 other = 0;

	if (!row)
		row = counts_insert(&key.key, current_task());
	if (!row)
		row = bpf_map_lookup_elem(&counts_other, &other);
	if (!row)
		return 0;
	__sync_fetch_and_add(&row->count, weight);
	if (!row->cell)
		return 0;
	slot->words[0] = word_0;
	slot->words[1] = word_1;
	slot->words[2] = word_2;
	slot->cell = row->cell;
	return 0;
}

static __always_inline void count(const struct process *process, u32 number, u8 abi, u64 weight)
{
	union syscall_key_words key = key_of(process, number, abi, 0);
	u32 at = (process->pid * 9 + number) % COUNTS_SLOTS;
	struct counts_slot *slot = bpf_map_lookup_elem(&counts_slots, &at);
	u64 *counter;
	u32 cell;

	if (!slot)
		return;
	if (slot->words[0] == key.words[0] && slot->words[1] == key.words[1] && slot->words[2] == key.words[2]) {
		cell = slot->cell;
		counter = bpf_map_lookup_elem(&counts_cells, &cell);
		if (counter)
			*counter += weight;
		return;
	}
	count_in_row(key.words[0], key.words[1], key.words[2], slot, weight);
}

SEC("tp_btf/sys_enter")
int count_enter(u64 *ctx)
{
	u32 program = 0, number = ctx[1];
	struct syscall_counters *counters;
	struct process process;
	u8 abi;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&counts_accounting, &program);
	if (!counters)
		return 0;
	counters->seen++;
	process = current_process();
	abi = syscall_abi(process.task);
	if (!is_selected(&process) || !syscall_is_selected(number, abi) || !is_selected_now(&process))
		counters->filtered++;
	else if (is_sampled_out())
		counters->sampled_out++;
	else if (is_thinned_out(counters->seen))
		counters->thinned_out++;
	else
		count(&process, number, abi, event_weight(&counters->thinned_out, &counters->represented));
	return 0;
}

#endif
