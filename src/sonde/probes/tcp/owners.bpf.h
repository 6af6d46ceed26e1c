/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The programs that tell whose a connection is: who accepts it, and who holds those that were there before us. */
#ifndef SONDE_TCP_OWNERS_BPF_H
#define SONDE_TCP_OWNERS_BPF_H

#include "accepted.bpf.h"
#include "hooks.bpf.h"
#include "syscall.bpf.h"

/*
 * One that is accepted and was not known. By TCP Fast Open it may come before it is established: then it begins here. Else
 * it waits since before we were there, and how long is not known; or it has ended already, which is none.
 */
static __always_inline struct connection *connection_add_accepted(struct tcp_counters *counters, u64 socket, u64 now_ns)
{
	u8 state = BPF_CORE_READ((const struct sock *)socket, __sk_common.skc_state);
	struct connection *connection;

	if (output == OUTPUT_CONNECT || state == STATE_CLOSE || is_untracked(false))
		return NULL;
	if (state == STATE_SYN_RECV)
		connection = connection_add(counters, socket, now_ns);
	else if (output != OUTPUT_ACCEPT)
		connection = connection_add_old(counters, socket, now_ns);
	else
		return NULL;
	if (connection)
		connection->direction = DIRECTION_ACCEPT;
	return connection;
}

/* accept() gives a connection to the process that runs now. */
static __always_inline void connection_is_accepted(struct tcp_counters *counters, u64 socket)
{
	struct connection *connection = connection_of(socket);
	u64 now_ns = bpf_ktime_get_ns();

	if (!connection)
		connection = connection_add_accepted(counters, socket, now_ns);
	if (!connection)
		return;
	if (connection->established_ns)
		connection->accept_ns = now_ns - connection->established_ns;
	if (connection->ownership == OWNER_UNKNOWN)
		connection_own_current(connection);
	if (output == OUTPUT_ACCEPT) {
		read_endpoints(&connection->endpoints, (const void *)socket);
		connection_completes(counters, socket, connection);
	}
}

enum syscall_number_accept {
	X86_64_ACCEPT = 43,
	X86_64_ACCEPT4 = 288,
	ARM64_ACCEPT = 202,
	ARM64_ACCEPT4 = 242,
};

/* Where accept_returned (accepted.bpf.h) does not load: the end of the system call. Others are told from it by their number, which is all that they cost. */
SEC("tp_btf/sys_exit")
int accept_exited(u64 *ctx)
{
	const void *registers = (const void *)ctx[0];
	struct tcp_counters *counters;
	const struct sock *sk;
	struct file **files, *file = NULL;
	s64 result = ctx[1];
	u32 number;

	if (result < 0 || !active)
		return 0;
	number = syscall_number(registers);
	if (is_x86() ? number != X86_64_ACCEPT && number != X86_64_ACCEPT4 :
		       number != ARM64_ACCEPT && number != ARM64_ACCEPT4)
		return 0;
	files = BPF_CORE_READ(current_task(), files, fdt, fd);
	bpf_probe_read_kernel(&file, sizeof(file), files + (u32)result);
	sk = tcp_of_file(file);
	counters = tcp_counters_of(PROGRAM_ACCEPT);
	if (counters && sk)
		connection_is_accepted(counters, (u64)sk);
	return 0;
}

struct bpf_iter__task_file {
	void *meta;
	struct task_struct *task;
	u32 fd __attribute__((aligned(8)));
	struct file *file;
};

static __always_inline bool is_open_state(u8 state)
{
	return state != STATE_CLOSE && state != STATE_LISTEN && state != STATE_SYN_RECV && state != STATE_NEW_SYN_RECV;
}

/*
 * Whose the connections are that were there before us. The iterator holds the file, so the socket is not closed, but the
 * connection may end: then its end has found nothing, and what we put there is taken away again.
 */
SEC("iter/task_file")
int seed_connections(struct bpf_iter__task_file *ctx)
{
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct connection *connection;
	struct tcp_counters *counters;
	struct process process = {};
	const struct sock *sk;
	u64 socket;

	if (!task || !file || !active)
		return 0;
	sk = tcp_of_file(file);
	counters = tcp_counters_of(PROGRAM_SEED);
	if (!sk || !counters || !is_open_state(BPF_CORE_READ(sk, __sk_common.skc_state)))
		return 0;
	socket = (u64)sk;
	if (connection_of(socket))
		return 0;
	connection = connection_add_old(counters, socket, bpf_ktime_get_ns());
	if (!connection)
		return 0;
	connection->is_established = BPF_CORE_READ(sk, __sk_common.skc_state) != STATE_SYN_SENT;
	if (BPF_CORE_READ(sk, __sk_common.skc_state) == STATE_CLOSE) {
		connection_dropped(counters, socket);
		return 0;
	}
	process.task = task;
	process.start_ns = BPF_CORE_READ(task, group_leader, start_boottime);
	process.pid = pidns_inum ? pidns_number(BPF_CORE_READ(task, group_leader, thread_pid)) : BPF_CORE_READ(task, tgid);
	/* Whether a task is below a cgroup only the task itself can ask: then it is when it closes the connection. */
	if (!only_cgroup)
		connection_own(connection, &process,
			       is_selected(&process) && (!only_comm || has_comm(&process)));
	return 0;
}

#endif
