/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The programs: what the kernel tells of a connection's life, and what follows from it for the output that is loaded. */
#ifndef SONDE_TCP_HOOKS_BPF_H
#define SONDE_TCP_HOOKS_BPF_H

#include "connections.bpf.h"
#include "latency.bpf.h"
#include "traffic.bpf.h"

static __always_inline bool is_latency_of(u32 direction)
{
	return (output == OUTPUT_CONNECT && direction == DIRECTION_CONNECT) ||
	       (output == OUTPUT_ACCEPT && direction == DIRECTION_ACCEPT);
}

/* Whether the output is of a connection's one step, and not of all that it does. */
static __always_inline bool is_of_step(void)
{
	return output == OUTPUT_CONNECT || output == OUTPUT_ACCEPT;
}

/* All that is to be told of a connection is known: tell it, and forget it. */
static __always_inline void connection_completes(struct tcp_counters *counters, u64 socket, struct connection *connection)
{
	u64 begun_ns = connection->begun_ns;
	bool is_here = true;

	if (connection_is_selected(connection)) {
		if (output == OUTPUT_PROCESSES || output == OUTPUT_PEERS)
			is_here = traffic_ends(socket, connection);
		else if (output == OUTPUT_CONNECTIONS)
			connection_record(counters, connection);
		else
			latency_count(counters, connection);
	} else {
		counters->filtered++;
	}
	if (is_here) {
		counters->seen++;
		counters->ended++;
	}
	bpf_map_delete_elem(&sockets, &socket);
	if (is_here && (output == OUTPUT_PROCESSES || output == OUTPUT_PEERS))
		traffic_forget(socket, begun_ns);
}

/* Nobody wants to know of it any more: an accepted connection that nobody has accepted, say. */
static __always_inline void connection_dropped(struct tcp_counters *counters, u64 socket)
{
	counters->ended++;
	bpf_map_delete_elem(&sockets, &socket);
}

/* A connection that is still noted at a socket that begins another one. */
static __always_inline void connection_left_over(struct tcp_counters *counters, u64 socket)
{
	struct connection *connection = connection_of(socket);

	if (!connection)
		return;
	if (connection->has_ended && !is_of_step()) {
		connection_completes(counters, socket, connection);
		return;
	}
	counters->seen++;
	counters->lost_unseen++;
	connection_dropped(counters, socket);
}

static __always_inline void connection_begins(struct tcp_counters *counters, u64 socket, u32 direction)
{
	struct connection *connection;
	u64 now_ns = bpf_ktime_get_ns();

	if (is_of_step() && !is_latency_of(direction))
		return;
	connection_left_over(counters, socket);
	connection = connection_add(counters, socket, now_ns);
	if (!connection)
		return;
	connection->direction = direction;
	if (direction == DIRECTION_CONNECT) {
		/* connect() is what brings a socket to this state: the current task is the owner. */
		connection_own_current(connection);
		return;
	}
	connection->established_ns = now_ns;
	connection->is_established = true;
}

static __always_inline void connection_is_connected(struct tcp_counters *counters, u64 socket)
{
	struct connection *connection = connection_of(socket);
	u64 now_ns = bpf_ktime_get_ns();

	/* Its begin was not seen. */
	if (!connection) {
		if (!is_of_step() && !is_untracked(false))
			connection = connection_add_old(counters, socket, now_ns);
		if (connection)
			connection->direction = DIRECTION_CONNECT;
		return;
	}
	connection->established_ns = now_ns;
	if (connection->direction == DIRECTION_CONNECT && !connection->begun_before)
		connection->connect_ns = now_ns - connection->begun_ns;
	connection->is_established = true;
	if (output == OUTPUT_CONNECT) {
		read_endpoints(&connection->endpoints, (const void *)socket);
		connection_completes(counters, socket, connection);
	}
}

static __always_inline u16 error_of_end(const struct connection *connection, const struct sock *sk)
{
	s32 error = BPF_CORE_READ(sk, sk_err);

	if (error || connection->is_established || connection->direction == DIRECTION_ACCEPT)
		return error;
	/* No answer, and no error: there was no port for it, or the process would not wait any longer. */
	return connection->endpoints.local_port ? ERROR_CANCELED : ERROR_ADDRNOTAVAIL;
}

/*
 * A process that closes a connection with data unread, or without lingering, sends a reset; the kernel does that after
 * the state has changed. Every other way from these states to the end leaves an error, or a reset has been before it.
 */
static __always_inline bool is_reset_to_come(const struct connection *connection, u32 former_state)
{
	return !connection->resets && !connection->error &&
	       (former_state == STATE_ESTABLISHED || former_state == STATE_CLOSE_WAIT ||
		former_state == STATE_FIN_WAIT1 || former_state == STATE_SYN_RECV);
}

static __always_inline void connection_ends(struct tcp_counters *counters, u64 socket, u32 former_state)
{
	struct connection *connection = connection_of(socket);
	const struct sock *sk = (const void *)socket;
	u64 now_ns = bpf_ktime_get_ns();

	if (!connection) {
		if (is_of_step() || former_state == STATE_SYN_RECV || is_untracked(true))
			return;
		connection = connection_add_old(counters, socket, now_ns);
		if (!connection)
			return;
		connection->is_established = former_state != STATE_SYN_SENT;
	}
	if (connection->has_ended)
		return;
	/* Where programs can be preempted (7.x) the kernel may have skipped the one that would have seen it established. */
	if (former_state != STATE_SYN_SENT && former_state != STATE_SYN_RECV && !connection->is_established) {
		if (output == OUTPUT_CONNECT) {
			counters->seen++;
			counters->lost_unseen++;
			connection_dropped(counters, socket);
			return;
		}
		connection->is_established = true;
	}
	connection->ended_ns = now_ns;
	read_endpoints(&connection->endpoints, sk);
	connection->total = volume_of(sk);
	connection->error = error_of_end(connection, sk);
	barrier();
	connection->has_ended = true;
	if (output == OUTPUT_CONNECT)
		connection->connect_ns = now_ns - connection->begun_ns;
	if (output == OUTPUT_ACCEPT || (output == OUTPUT_RTT && !connection->is_established)) {
		connection_dropped(counters, socket);
		return;
	}
	if (is_reset_to_come(connection, former_state)) {
		/* It is the closing process that runs now. One that nobody has accepted is closed with its listener. */
		if (connection->ownership == OWNER_UNKNOWN && BPF_CORE_READ(sk, sk_socket))
			connection_own_current(connection);
		if (output == OUTPUT_CONNECTIONS || output == OUTPUT_PROCESSES || output == OUTPUT_PEERS)
			return;
	}
	connection_completes(counters, socket, connection);
}

/* close() or shutdown(), which only a process calls: where we have not seen who accepted it, we see who closes it. */
static __always_inline void connection_is_closed(struct tcp_counters *counters, u64 socket)
{
	struct connection *connection = connection_of(socket);

	if (is_of_step())
		return;
	if (!connection && !is_untracked(false))
		connection = connection_add_old(counters, socket, bpf_ktime_get_ns());
	if (connection && connection->ownership == OWNER_UNKNOWN)
		connection_own_current(connection);
}

SEC("tp_btf/inet_sock_set_state")
int tcp_state(u64 *ctx)
{
	u32 former_state = ctx[1], state = ctx[2];
	struct tcp_counters *counters;
	u64 socket = ctx[0];

	if (!active || former_state == state || !is_tcp((const void *)socket))
		return 0;
	/* A child of a listener begins in SYN_RECV, and is a connection when that is over. */
	if (state == STATE_LISTEN || former_state == STATE_LISTEN)
		return 0;
	counters = tcp_counters_of(PROGRAM_STATE);
	if (!counters)
		return 0;
	if (state == STATE_SYN_SENT)
		connection_begins(counters, socket, DIRECTION_CONNECT);
	else if (state == STATE_CLOSE)
		connection_ends(counters, socket, former_state);
	else if (former_state == STATE_SYN_RECV && !connection_of(socket))
		connection_begins(counters, socket, DIRECTION_ACCEPT);
	else if (state == STATE_ESTABLISHED)
		connection_is_connected(counters, socket);
	else if (state == STATE_FIN_WAIT1 || state == STATE_LAST_ACK)
		connection_is_closed(counters, socket);
	return 0;
}

SEC("tp_btf/tcp_receive_reset")
int tcp_reset_received(u64 *ctx)
{
	struct connection *connection;

	if (!active)
		return 0;
	connection = connection_of(ctx[0]);
	if (connection)
		connection->resets |= RESET_RECEIVED;
	return 0;
}

/* Linux 6.10 (b533fb9cf4f7: "rstreason: make it work in trace world") tells why, as a third argument. */
enum sk_rst_reason___sonde {
	SK_RST_REASON_NOT_SPECIFIED___sonde,
};

struct trace_event_raw_tcp_send_reset___6_10 {
	enum sk_rst_reason___sonde reason;
} KERNEL_TYPE;

SEC("tp_btf/tcp_send_reset")
int tcp_reset_sent(u64 *ctx)
{
	struct connection *connection;
	struct tcp_counters *counters;
	u64 socket = ctx[0];

	if (!active || !socket)
		return 0;
	connection = connection_of(socket);
	counters = tcp_counters_of(PROGRAM_SENT);
	if (!connection || !counters)
		return 0;
	connection->resets |= RESET_SENT;
	if (bpf_core_field_exists(struct trace_event_raw_tcp_send_reset___6_10, reason))
		connection->reset_reason = ctx[2];
	/* It ended a moment ago, and waited for this. */
	if (connection->has_ended)
		connection_completes(counters, socket, connection);
	return 0;
}

/* The socket goes: what waits for a reset that could not be sent, or whose end was not seen, ends here. */
SEC("tp_btf/tcp_destroy_sock")
int tcp_destroyed(u64 *ctx)
{
	struct connection *connection;
	struct tcp_counters *counters;
	u64 socket = ctx[0];

	if (!active)
		return 0;
	connection = connection_of(socket);
	counters = tcp_counters_of(PROGRAM_DESTROYED);
	if (!connection || !counters)
		return 0;
	if (connection->has_ended)
		connection_completes(counters, socket, connection);
	else
		connection_ends(counters, socket, STATE_CLOSE);
	return 0;
}

#endif
