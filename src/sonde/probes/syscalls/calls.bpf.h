/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The stream calls: each one, with its arguments and its result. */
#ifndef SONDE_SYSCALLS_CALLS_BPF_H
#define SONDE_SYSCALLS_CALLS_BPF_H

#include "call.bpf.h"
#include "stream.bpf.h"

ACCOUNTING(calls, struct syscall_counters, PROGRAMS);

struct syscall_record {
	/* When the call ended; it began duration_ns before. */
	sonde_time_ns_t time_ns;
	sonde_boottime_ns_t process_start_ns;
	sonde_duration_ns_t duration_ns;
	sonde_argument_t args[ARGUMENTS];
	sonde_result_t result;
	sonde_pid_t pid;
	sonde_tid_t tid;
	sonde_syscall_t syscall;
	sonde_errno_t error;
	sonde_abi_t abi;
	u8 padding;
	sonde_comm_t comm[COMM_LENGTH];
};
_Static_assert(sizeof(struct syscall_record) == 112, "hidden padding");

RECORD_STREAM(calls, struct syscall_record, 1 << 20);

static __always_inline void stream_add(struct syscall_counters *counters, const struct call *call)
{
	struct syscall_record *record;

	if (latency_min_ns && (call->duration_ns < latency_min_ns || call->duration_ns == DURATION_UNKNOWN)) {
		counters->filtered++;
		return;
	}
	if (!stream_has_room(&calls_turn, call->time_ns)) {
		counters->lost_rate++;
		return;
	}
	record = bpf_ringbuf_reserve(&calls, sizeof(*record), 0);
	if (!record) {
		counters->lost_ring_full++;
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = call->time_ns;
	record->process_start_ns = call->process.start_ns;
	record->duration_ns = call->duration_ns;
	if (call->start && call->start->has_arguments)
		__builtin_memcpy(record->args, call->start->arguments, sizeof(record->args));
	else
		syscall_arguments(record->args, call->registers, call->abi);
	record->result = call->result;
	record->pid = call->process.pid;
	record->tid = pidns_tid(call->process.task);
	record->syscall = call->number;
	record->error = call->error;
	record->abi = call->abi;
	read_comm(record->comm, call->process.task);
	stream_submit(&calls, record, sizeof(*record));
}

SEC("tp_btf/sys_enter")
int stream_enter(u64 *ctx)
{
	struct syscall_counters *counters;
	u32 program = PROGRAM_ENTER;
	struct call call;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&calls_accounting, &program);
	if (!counters)
		return 0;
	call = call_at_enter(ctx);
	if (!syscall_never_returns(call.number, call.abi))
		call_begins(counters, &call, true);
	else if (call_never_returns(counters, &call, true))
		stream_add(counters, &call);
	return 0;
}

SEC("tp_btf/sys_exit")
int stream_exit(u64 *ctx)
{
	struct syscall_counters *counters;
	u32 program = PROGRAM_EXIT;
	struct call call;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&calls_accounting, &program);
	if (!counters)
		return 0;
	call = call_at_exit(ctx);
	if (call_ends(counters, &call, true))
		stream_add(counters, &call);
	return 0;
}

#endif
