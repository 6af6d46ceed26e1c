// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A table of stacks that is counted by test runs: as often as is known, under keys and stacks that are known. */
#include "stack.bpf.h"

KNOB(u32, dwell, 0, "so long a program holds its row before it counts there, in stacks that it takes meanwhile");

enum { ROWS_MAX = 1024, PROGRAMS = 1, DWELL_MAX = 4096 };

struct made_key {
	sonde_kernel_stack_t kernel_stack;
	u64 number;
};

struct made_row {
	u64 count;
	sonde_first_ns_t first_seen_ns;
	sonde_max_ns_t number_max;
};

struct made_counters {
	u64 stacks_truncated;
	u64 stacks_unreadable;
	u64 stacks_full;
};

STACK_TABLE(made, struct made_key, struct made_row, ROWS_MAX, PROGRAMS);

struct made_counters notes;

static __always_inline void count(void *ctx, u64 number, u64 kernel_stack, const struct generation *now)
{
	struct made_row *row, fresh = { .first_seen_ns = bpf_ktime_get_ns() };
	struct made_key key = { .kernel_stack = kernel_stack, .number = number };
	u64 taken[16];
	u32 only = 0;

	row = row_in(now->rows, &key, &fresh);
	if (!row)
		row = bpf_map_lookup_elem(&made_other, &only);
	if (!row)
		return;
	for (u32 i = 0; i < DWELL_MAX; i++) {
		if (i >= dwell)
			break;
		bpf_get_stack(ctx, taken, sizeof(taken), 0);
	}
	__sync_fetch_and_add(&row->count, 1);
	row->number_max = number;
}

/* Made of its arguments: a number, from which the addresses count up, and how many there are. */
SEC("raw_tp")
int made_up(u64 *ctx)
{
	struct generation now = CURRENT_GENERATION(made);
	u64 number = ctx[0], depth = ctx[1];
	struct stack *scratch;
	u32 only = 0;

	scratch = bpf_map_lookup_elem(&made_scratch, &only);
	if (!scratch)
		return 0;
	scratch->flags = 0;
	scratch->depth = depth;
	for (u32 i = 0; i < STACK_DEPTH_MAX; i++)
		scratch->addresses[i] = i < depth ? number + i : 0;
	count(ctx, number, keep_stack(now.stacks, scratch), &now);
	NOTE_STACK(&notes, scratch);
	return 0;
}

/* The stacks of whoever runs it. */
SEC("raw_tp")
int own_stacks(u64 *ctx)
{
	struct generation now = CURRENT_GENERATION(made);
	struct stack *scratch;
	u32 only = 0;

	scratch = bpf_map_lookup_elem(&made_scratch, &only);
	if (!scratch)
		return 0;
	count(ctx, 0, stack_number(ctx, now.stacks, scratch, 0), &now);
	NOTE_STACK(&notes, scratch);
	count(ctx, 1, stack_number(ctx, now.stacks, scratch, BPF_F_USER_STACK), &now);
	NOTE_STACK(&notes, scratch);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
