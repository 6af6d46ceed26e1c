// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Which code runs on the CPUs: their stacks, counted at the ticks of a clock of each CPU. */
#include "accounting.bpf.h"
#include "followed.bpf.h"
#include "kernel.bpf.h"
#include "selection.bpf.h"
#include "stack.bpf.h"
#include "unfollowed.bpf.h"

/* seen = aggregated + filtered + lost; user space adds the ticks at which the kernel did not run the program. */
struct samples_counters {
	u64 seen;
	u64 filtered;
	/* Notes: ticks of idle CPUs, which are filtered, too; stacks that are not whole. */
	u64 idle;
	u64 stacks_truncated;
	u64 stacks_unreadable;
	u64 stacks_full;
};

ACCOUNTING(samples, struct samples_counters, 1);

struct sample_key {
	sonde_boottime_ns_t process_start_ns;
	sonde_user_stack_t user_stack;
	sonde_kernel_stack_t kernel_stack;
	sonde_pid_t pid;
	u32 padding;
	sonde_thread_name_t comm[COMM_LENGTH];
};
_Static_assert(sizeof(struct sample_key) == 48, "hidden padding");

struct sample_row {
	u64 count;
	sonde_first_ns_t first_seen_ns;
};

enum { ROWS_MAX = 1024, PROGRAMS = 1 };

STACK_TABLE(samples, struct sample_key, struct sample_row, ROWS_MAX, PROGRAMS);

/* At how many ticks of each CPU's clock the kernel did not run the program: user space writes it (run/sampling.py). */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, u64);
} samples_skipped SEC(".maps");

static __always_inline void sample(void *ctx, struct samples_counters *counters, const struct process *process)
{
	struct generation now = CURRENT_GENERATION(samples);
	struct sample_row *row, fresh = { .count = 0 };
	struct sample_key key = {
		.process_start_ns = process->start_ns,
		.pid = process->pid,
	};
	struct stack *scratch;
	u32 only = 0;

	scratch = bpf_map_lookup_elem(&samples_scratch, &only);
	if (!scratch)
		return;
	bpf_get_current_comm(key.comm, sizeof(key.comm));
	TAKE_STACKS(ctx, now.stacks, scratch, counters, has_user_stack(process->task), &key.user_stack,
		    &key.kernel_stack);
	fresh.first_seen_ns = bpf_ktime_get_ns();
	row = row_in(now.rows, &key, &fresh);
	if (!row)
		row = bpf_map_lookup_elem(&samples_other, &only);
	if (row)
		__sync_fetch_and_add(&row->count, 1);
}

SEC("perf_event")
int cpu_tick(void *ctx)
{
	struct samples_counters *counters;
	struct process process;
	u32 program = 0;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&samples_accounting, &program);
	if (!counters)
		return 0;
	counters->seen++;
	/* The idle task of each CPU is number 0. */
	if (!(bpf_get_current_pid_tgid() >> 32)) {
		counters->filtered++;
		counters->idle++;
		return 0;
	}
	process = current_process();
	if (is_selected(&process) && is_selected_now(&process))
		sample(ctx, counters, &process);
	else
		counters->filtered++;
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
