/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the three outputs have in common: which calls count, and a call from its entry to its exit. */
#ifndef SONDE_SYSCALLS_CALL_BPF_H
#define SONDE_SYSCALLS_CALL_BPF_H

#include "accounting.bpf.h"
#include "kernel.bpf.h"
#include "knob.bpf.h"
#include "sampling.bpf.h"
#include "selection.bpf.h"
#include "start.bpf.h"
#include "syscall.bpf.h"

enum {
	/* Processes × calls × errors. */
	ROWS_MAX = 10240,
	/* Numbers from here on are in no set. */
	SYSCALL_SET_BITS = 1024,
};

KNOB(bool, only_syscalls, false, "only the calls in the sets syscalls_native and syscalls_compat");
KNOB_ARRAY(u64, syscalls_native, SYSCALL_SET_BITS / 64, "a bit for each number; x32 numbers without their mark");
KNOB_ARRAY(u64, syscalls_compat, SYSCALL_SET_BITS / 64, "a bit for each number of the 32-bit table");
KNOB(bool, only_errors, false, "only calls that fail");
KNOB(u64, latency_min_ns, 0, "stream only calls that take at least this long");

struct syscall_counters {
	u64 seen;
	u64 filtered;
	u64 sampled_out;
	u64 thinned_out;
	u64 lost_ring_full;
	u64 lost_rate;
	u64 begun;
	u64 ended;
	/* Notes: calls that others stand for; exit and exit_group; a new task's first return, which ends no call; calls that
	 * go on without a start. */
	u64 represented;
	u64 counted_at_entry;
	u64 child_returns;
	u64 start_failed;
};

enum { PROGRAM_EXIT, PROGRAM_ENTER, PROGRAMS };

struct syscall_key {
	sonde_boottime_ns_t process_start_ns;
	sonde_pid_t pid;
	sonde_syscall_t syscall;
	sonde_errno_t error;
	sonde_abi_t abi;
	u8 padding[5];
};
_Static_assert(sizeof(struct syscall_key) == 24, "hidden padding");

/* The same as whole words, which compare and copy faster than fields. */
union syscall_key_words {
	struct syscall_key key;
	u64 words[3];
};

static __always_inline union syscall_key_words key_of(const struct process *process, u32 number, u8 abi, u16 error)
{
	return (union syscall_key_words){ .words = {
						  process->start_ns,
						  process->pid | (u64)number << 32,
						  error | (u64)abi << 16,
					  } };
}

static __always_inline bool syscall_is_selected(u32 number, u8 abi)
{
	const volatile u64 *set = abi == ABI_COMPAT ? syscalls_compat : syscalls_native;
	u64 at = number;

	if (!only_syscalls)
		return true;
	if (is_x86() && abi == ABI_NATIVE)
		at &= ~X32_BIT;
	/* Without the barrier the compiler checks one copy of the number and uses another, which no verifier follows. */
	barrier_var(at);
	return at < SYSCALL_SET_BITS && set[at / 64] >> (at % 64) & 1;
}

/* In the place of a start's time: the call is left out. */
enum { SAMPLED_OUT = 1, THINNED_OUT = 2 };

/* A call that is over, or at its last point (exit, exit_group). */
struct call {
	struct process process;
	const void *registers;
	/* NULL when its beginning was not seen, or when it has no end. */
	const struct start *start;
	s64 result;
	u64 time_ns;
	u64 duration_ns;
	/* How many calls it counts for. */
	u64 weight;
	u32 number;
	u16 error;
	u8 abi;
};

/* Whether a call is left out; one that is not is given its weight. A stream has no totals: a record is one call. */
static __always_inline bool call_is_left_out(struct syscall_counters *counters, struct call *call, bool for_stream)
{
	if (is_sampled_out()) {
		counters->sampled_out++;
		return true;
	}
	if (is_thinned_out(counters->seen)) {
		*(for_stream ? &counters->sampled_out : &counters->thinned_out) += 1;
		return true;
	}
	call->weight = for_stream ? 1 : event_weight(&counters->thinned_out, &counters->represented);
	return false;
}

static __always_inline void call_begins(struct syscall_counters *counters, const struct call *call, bool for_stream)
{
	struct start *start;

	if (!is_selected(&call->process) || !syscall_is_selected(call->number, call->abi) ||
	    !is_selected_now(&call->process))
		return;
	start = starts_make(call->process.task);
	if (!start) {
		counters->start_failed++;
		return;
	}
	/* One that is still there has ended unseen: the kernel skipped our program. This call takes its place. */
	if (!start->time_ns)
		counters->begun++;
	start->syscall = call->number;
	start->abi = call->abi;
	if (for_stream) {
		start->has_arguments = syscall_clears_arguments(call->number, call->abi);
		if (start->has_arguments)
			syscall_arguments(start->arguments, call->registers, call->abi);
	}
	/* The clock is read last here and early at the exit: what we do in between is not the call's. */
	start->time_ns = is_sampled_out() ? SAMPLED_OUT : is_thinned_out(counters->begun) ? THINNED_OUT : bpf_ktime_get_ns();
}

/* A task that makes its last call has none before it in flight: one that is still noted has ended unseen. */
static __always_inline void forget_start(struct syscall_counters *counters, struct task_struct *task)
{
	struct start *start = starts_look(task);

	if (start && start->time_ns) {
		start->time_ns = 0;
		counters->ended++;
	}
}

/* Whether to count a call now that will not come back. */
static __always_inline bool call_never_returns(struct syscall_counters *counters, struct call *call, bool for_stream)
{
	forget_start(counters, call->process.task);
	counters->seen++;
	counters->counted_at_entry++;
	if (only_errors || !is_selected(&call->process) || !syscall_is_selected(call->number, call->abi) ||
	    !is_selected_now(&call->process)) {
		counters->filtered++;
		return false;
	}
	if (call_is_left_out(counters, call, for_stream))
		return false;
	call->time_ns = bpf_ktime_get_ns();
	call->duration_ns = DURATION_UNKNOWN;
	return true;
}

static __always_inline bool is_child_return(const struct call *call)
{
	return call->result == 0 &&
	       syscall_returns_twice(syscall_number(call->registers), syscall_abi(call->process.task));
}

/* Whether to count a call that had begun before we were there, or that seccomp refused: such have an exit only. */
static __always_inline bool call_ends_unseen(struct syscall_counters *counters, struct call *call, bool for_stream)
{
	if (is_child_return(call)) {
		counters->child_returns++;
		return false;
	}
	counters->seen++;
	call->number = syscall_number(call->registers);
	call->abi = syscall_abi(call->process.task);
	if (!syscall_is_selected(call->number, call->abi) || !is_selected_now(&call->process)) {
		counters->filtered++;
		return false;
	}
	if (call_is_left_out(counters, call, for_stream))
		return false;
	call->duration_ns = DURATION_UNKNOWN;
	if (call->number != (u32)SYSCALL_NONE)
		call->error = syscall_error(call->result, call->number, call->abi);
	return true;
}

/* Whether to count a call whose beginning was selected: what it was then holds, whatever its name is now. */
static __always_inline bool call_ends_seen(struct syscall_counters *counters, struct call *call, struct start *start,
					   bool for_stream)
{
	u64 begun_ns = start->time_ns;

	start->time_ns = 0;
	counters->seen++;
	counters->ended++;
	if (unlikely(begun_ns <= THINNED_OUT)) {
		*(for_stream || begun_ns == SAMPLED_OUT ? &counters->sampled_out : &counters->thinned_out) += 1;
		return false;
	}
	call->weight = for_stream ? 1 : event_weight(&counters->thinned_out, &counters->represented);
	call->start = start;
	call->number = start->syscall;
	call->abi = start->abi;
	/* The clocks of two CPUs may differ by a little. */
	call->duration_ns = call->time_ns > begun_ns ? call->time_ns - begun_ns : 0;
	call->error = syscall_error(call->result, call->number, call->abi);
	return true;
}

/* Whether to count the call that ends here. */
static __always_inline bool call_ends(struct syscall_counters *counters, struct call *call, bool for_stream)
{
	struct start *start;

	if (!is_selected(&call->process)) {
		if (is_child_return(call)) {
			counters->child_returns++;
			return false;
		}
		counters->seen++;
		counters->filtered++;
		return false;
	}
	call->time_ns = bpf_ktime_get_ns();
	start = starts_look(call->process.task);
	if (likely(start && start->time_ns)) {
		if (!call_ends_seen(counters, call, start, for_stream))
			return false;
	} else if (!call_ends_unseen(counters, call, for_stream)) {
		return false;
	}
	if (only_errors && !call->error) {
		counters->filtered += call->weight;
		return false;
	}
	return true;
}

static __always_inline struct call call_at_enter(const u64 *ctx)
{
	struct process process = current_process();

	return (struct call){
		.process = process,
		.registers = (const void *)ctx[0],
		.number = ctx[1],
		.abi = syscall_abi(process.task),
	};
}

static __always_inline struct call call_at_exit(const u64 *ctx)
{
	return (struct call){
		.process = current_process(),
		.registers = (const void *)ctx[0],
		.result = ctx[1],
	};
}

#endif
