/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Stacks of the current task, as numbers. A stack's number is a hash of its addresses, so the same stack has the same
 * number in every generation and on every read; its addresses are put once into the generation's map of stacks.
 *
 * A table of stacks has two generations: rows and stacks are written to one of them, while user space empties the other
 * (records/generations.py). It flips the variable TABLE_generation, waits until no program runs that began before (it
 * updates TABLE_barrier, a map of maps, for that), and reads and empties what is then nobody's.
 *
 * All maps are preallocated: before Linux 6.1 programs of perf events take no others.
 */
#ifndef SONDE_STACK_BPF_H
#define SONDE_STACK_BPF_H

#include "kernel.bpf.h"
#include "knob.bpf.h"

enum { STACK_DEPTH_MAX = 127 };

KNOB(bool, no_user, false, "without user stacks");
KNOB(bool, no_kernel, false, "without kernel stacks");

/* kernel.perf_event_max_stack where that is less: a stack of so many frames is taken to go on. */
KNOB(u32, stack_depth_max, STACK_DEPTH_MAX, "so many frames of a stack are taken at most");

/* Numbers that are no stack's: records/stacks.py has the words for them. */
enum {
	STACK_NONE = 0,
	STACK_MAP_FULL = 1,
	STACK_UNREADABLE = 2,
	STACK_BEFORE_US = 3,
	STACK_NUMBER_MIN = 16,
};

/* What happened to a stack that was taken: struct stack's flags. */
enum {
	STACK_IS_TRUNCATED = 1,
	STACK_WAS_UNREADABLE = 2,
	STACK_FOUND_NO_ROOM = 4,
};

struct stack {
	u32 depth;
	u32 flags;
	/* The innermost first. */
	u64 addresses[STACK_DEPTH_MAX];
};
_Static_assert(sizeof(struct stack) == 1024, "hidden padding");

struct stack_barrier {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u32);
};

/*
 * Both generations of a table of stacks, with a scratch for each of its programs, which may interleave on a CPU; key and
 * row are struct types. The counters of its ACCOUNTING have the members of NOTE_STACK. The sizes are set before load:
 * run/control.py gives all maps of a table their share of its max_entries.
 */
#define STACK_TABLE(table, key_type, row_type, rows_max, programs)                                                     \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                       \
		__uint(max_entries, rows_max);                                                                         \
		__type(key, key_type);                                                                                 \
		__type(value, row_type);                                                                               \
	} table SEC(".maps"), table##_odd SEC(".maps");                                                                \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                       \
		__uint(max_entries, 2 * (rows_max));                                                                   \
		__type(key, u64);                                                                                      \
		__type(value, struct stack);                                                                           \
	} table##_stacks SEC(".maps"), table##_odd_stacks SEC(".maps");                                                \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                               \
		__uint(max_entries, programs);                                                                         \
		__type(key, u32);                                                                                      \
		__type(value, struct stack);                                                                           \
	} table##_scratch SEC(".maps");                                                                                \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                               \
		__uint(max_entries, 1);                                                                                \
		__type(key, u32);                                                                                      \
		__type(value, row_type);                                                                               \
	} table##_other SEC(".maps");                                                                                  \
	struct stack_barrier table##_barrier_entry SEC(".maps");                                                       \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);                                                              \
		__uint(max_entries, 1);                                                                                \
		__type(key, u32);                                                                                      \
		__array(values, struct stack_barrier);                                                                 \
	} table##_barrier SEC(".maps") = { .values = { &table##_barrier_entry } };                                     \
	volatile u32 table##_generation SEC(".data." #table)

/* The maps of the generation that is written now: read once at a program's beginning, both belong together. */
struct generation {
	void *rows;
	void *stacks;
};

#define CURRENT_GENERATION(table)                                                                                      \
	(table##_generation & 1 ? (struct generation){ &table##_odd, &table##_odd_stacks } :                           \
				  (struct generation){ &table, &table##_stacks })

/* Notes beside the equation: of the stacks that a program took, how many are not whole, and why. */
#define NOTE_STACK(counters, stack)                                                                                    \
	do {                                                                                                           \
		if ((stack)->flags & STACK_IS_TRUNCATED)                                                               \
			(counters)->stacks_truncated++;                                                                \
		if ((stack)->flags & STACK_WAS_UNREADABLE)                                                             \
			(counters)->stacks_unreadable++;                                                               \
		if ((stack)->flags & STACK_FOUND_NO_ROOM)                                                              \
			(counters)->stacks_full++;                                                                     \
	} while (0)

enum { PF_KTHREAD = 0x00200000 };

/* Kernel threads have none, not even while they use a process's memory. */
static __always_inline bool has_user_stack(const struct task_struct *task)
{
	return !(TASK_READ(task, flags) & PF_KTHREAD);
}

/* Each step mixes one address into all bits that follow; the end is MurmurHash3's, which mixes those into each other. */
static __noinline u64 stack_hash(const struct stack *stack)
{
	u64 hash, depth;

	if (!stack)
		return 0;
	hash = depth = stack->depth;
	for (u32 i = 0; i < STACK_DEPTH_MAX; i++) {
		if (i >= depth)
			break;
		hash = (hash ^ stack->addresses[i]) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	hash = (hash ^ hash >> 33) * 0xff51afd7ed558ccdULL;
	hash = (hash ^ hash >> 33) * 0xc4ceb9fe1a85ec53ULL;
	return hash ^ hash >> 33;
}

/* What came of taking a stack into the scratch: STACK_NONE where it is there, or there is none. */
static __always_inline u64 taken_stack(struct stack *stack, long size)
{
	stack->flags = 0;
	stack->depth = 0;
	if (size < 0) {
		stack->flags = STACK_WAS_UNREADABLE;
		return STACK_UNREADABLE;
	}
	stack->depth = (u64)size / sizeof(u64);
	if (stack->depth >= stack_depth_max)
		stack->flags = STACK_IS_TRUNCATED;
	return STACK_NONE;
}

/* Take a stack into the scratch: BPF_F_USER_STACK, or 0 for the kernel's. STACK_NONE where it is taken, or there is none. */
static __always_inline u64 take_stack(void *ctx, struct stack *stack, u64 flags)
{
	return taken_stack(stack, bpf_get_stack(ctx, stack->addresses, sizeof(stack->addresses), flags));
}

/* Keep a stack that was taken under its number; STACK_NONE where it has no frames. */
static __always_inline u64 keep_stack(void *stacks, struct stack *stack)
{
	u64 number;

	if (!stack->depth)
		return STACK_NONE;
	number = stack_hash(stack);
	if (number < STACK_NUMBER_MIN)
		number += STACK_NUMBER_MIN;
	if (bpf_map_lookup_elem(stacks, &number))
		return number;
	/* Another CPU may have put it there just now: then it is there, too. */
	if (bpf_map_update_elem(stacks, &number, stack, BPF_NOEXIST) && !bpf_map_lookup_elem(stacks, &number)) {
		stack->flags |= STACK_FOUND_NO_ROOM;
		return STACK_MAP_FULL;
	}
	return number;
}

/* Both at once, for programs that need the number at the moment when they take the stack. */
static __always_inline u64 stack_number(void *ctx, void *stacks, struct stack *scratch, u64 flags)
{
	u64 cause = take_stack(ctx, scratch, flags);

	return cause ? cause : keep_stack(stacks, scratch);
}

/*
 * Both stacks of the current task, by way of the scratch, as far as they are wanted: their numbers are set, and noted in the
 * counters where they are not whole.
 */
#define TAKE_STACKS(ctx, stacks, scratch, counters, has_user, user_number, kernel_number)                              \
	do {                                                                                                           \
		*(user_number) = *(kernel_number) = STACK_NONE;                                                        \
		if (!no_user && (has_user)) {                                                                          \
			*(user_number) = stack_number(ctx, stacks, scratch, BPF_F_USER_STACK);                         \
			NOTE_STACK(counters, scratch);                                                                 \
		}                                                                                                      \
		if (!no_kernel) {                                                                                      \
			*(kernel_number) = stack_number(ctx, stacks, scratch, 0);                                      \
			NOTE_STACK(counters, scratch);                                                                 \
		}                                                                                                      \
	} while (0)

/* The row of a key in a generation, made of `fresh` where there is none; NULL when the map is full. */
static __always_inline void *row_in(void *rows, const void *key, const void *fresh)
{
	void *row = bpf_map_lookup_elem(rows, key);

	if (row)
		return row;
	/* Two CPUs may both find nothing: one of them makes the row, and both look it up again. */
	bpf_map_update_elem(rows, key, fresh, BPF_NOEXIST);
	return bpf_map_lookup_elem(rows, key);
}

#endif
