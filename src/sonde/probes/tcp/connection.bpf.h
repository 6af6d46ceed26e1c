/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * A connection from its begin to its end, by its socket, so that ports that are used again mix nothing up. The kernel
 * changes a socket's state under its lock, so one connection's events come one after the other.
 */
#ifndef SONDE_TCP_CONNECTION_BPF_H
#define SONDE_TCP_CONNECTION_BPF_H

#include "accounting.bpf.h"
#include "knob.bpf.h"
#include "selection.bpf.h"
#include "socket.bpf.h"

/* Which side asked for a connection; who sent a reset, and why: by the running kernel's enum sk_rst_reason. */
typedef u8 sonde_tcp_direction_t;
typedef u8 sonde_tcp_reset_t;
typedef u32 sonde_reset_reason_t;

enum {
	/* Open connections at a time. */
	CONNECTIONS_MAX = 32768,
	ROWS_MAX = 10240,
	/* Ranges of ports that can be selected. */
	PORTS_MAX = 8,
	ERROR_ADDRNOTAVAIL = 99,
	ERROR_CANCELED = 125,
};

/* Which output is loaded: the programs serve all of them, and what is not for this one is removed from them. */
enum output {
	OUTPUT_CONNECTIONS,
	OUTPUT_PROCESSES,
	OUTPUT_PEERS,
	OUTPUT_CONNECT,
	OUTPUT_ACCEPT,
	OUTPUT_RTT,
};

KNOB(u32, output, OUTPUT_CONNECTIONS, "which output it is, by its place in probe.py");
KNOB(bool, only_failed, false, "only connections that failed");
/* The first and the last of each range. */
KNOB_ARRAY(u16, only_ports, 2 * PORTS_MAX, "only connections with one of these ports on one side; 0: no more of them");
KNOB(u8, only_ip_version, 0, "only connections of this version of IP; 0: of both");

struct tcp_counters {
	u64 seen;
	u64 filtered;
	u64 lost_ring_full;
	u64 lost_rate;
	u64 lost_map_full;
	/* Their end was not seen: the kernel skipped our programs, and the socket is another connection's now. */
	u64 lost_unseen;
	u64 begun;
	u64 ended;
	/* Connections that were there before us. */
	u64 begun_before;
};

/* Each program has an entry of the counters. */
enum {
	PROGRAM_STATE,
	PROGRAM_RECEIVED,
	PROGRAM_SENT,
	PROGRAM_DESTROYED,
	PROGRAM_ACCEPT,
	PROGRAM_SEED,
	PROGRAM_LIVE,
	PROGRAM_ENDED,
	PROGRAMS,
};

ACCOUNTING(connections, struct tcp_counters, PROGRAMS);
ACCOUNTING(processes, struct tcp_counters, PROGRAMS);
ACCOUNTING(peers, struct tcp_counters, PROGRAMS);
ACCOUNTING(connect, struct tcp_counters, PROGRAMS);
ACCOUNTING(accept, struct tcp_counters, PROGRAMS);
ACCOUNTING(rtt, struct tcp_counters, PROGRAMS);

/*
 * A map's address, where it is needed and not before: the compiler would take the addresses of several and then choose,
 * and the verifier refuses a program that has the address of a map that was left out.
 */
#define MAP_HERE(map)                                                                                                  \
	({                                                                                                             \
		void *here = &(map);                                                                                   \
		barrier_var(here);                                                                                     \
		here;                                                                                                  \
	})

static __always_inline struct tcp_counters *tcp_counters_of(u32 program)
{
	if (output == OUTPUT_PROCESSES)
		return bpf_map_lookup_elem(MAP_HERE(processes_accounting), &program);
	if (output == OUTPUT_PEERS)
		return bpf_map_lookup_elem(MAP_HERE(peers_accounting), &program);
	if (output == OUTPUT_CONNECT)
		return bpf_map_lookup_elem(MAP_HERE(connect_accounting), &program);
	if (output == OUTPUT_ACCEPT)
		return bpf_map_lookup_elem(MAP_HERE(accept_accounting), &program);
	if (output == OUTPUT_RTT)
		return bpf_map_lookup_elem(MAP_HERE(rtt_accounting), &program);
	return bpf_map_lookup_elem(MAP_HERE(connections_accounting), &program);
}

enum direction { DIRECTION_UNKNOWN, DIRECTION_CONNECT, DIRECTION_ACCEPT };
/* Bits; the names are in enrich/tcp_connection.py, too. */
enum reset { RESET_SENT = 1, RESET_RECEIVED = 2 };

/* Whose a connection is: decided when its owner is known, for a process may have ended when its connection does. */
enum ownership { OWNER_UNKNOWN, OWNER_IS_FILTERED, OWNER_IS_SELECTED };

struct connection {
	/* With the socket it tells the connection. Of one that we found open: when we did. */
	u64 begun_ns;
	u64 established_ns;
	u64 ended_ns;
	u64 connect_ns;
	u64 accept_ns;
	u64 process_start_ns;
	/* What was counted before it was ours, and once it has ended all that was. */
	struct volume before;
	struct volume total;
	struct endpoints endpoints;
	u32 pid;
	u32 reset_reason;
	u16 error;
	u8 direction;
	u8 ownership;
	u8 resets;
	bool begun_before;
	bool is_established;
	bool has_ended;
	char comm[COMM_LENGTH];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CONNECTIONS_MAX);
	__type(key, u64);
	__type(value, struct connection);
} sockets SEC(".maps");

static const struct connection connection_new;

/* Connections that began when the map was full, and have not ended: they are lost, and so is what is left of them. */
s64 untracked;

static __always_inline bool is_untracked(bool has_ended)
{
	if (likely(untracked <= 0))
		return false;
	if (has_ended)
		__sync_fetch_and_add(&untracked, -1);
	return true;
}

static __always_inline struct connection *connection_of(u64 socket)
{
	return bpf_map_lookup_elem(&sockets, &socket);
}

/* Note a connection; NULL where there is no room for it. */
static __always_inline struct connection *connection_add(struct tcp_counters *counters, u64 socket, u64 now_ns)
{
	struct connection *connection;

	if (bpf_map_update_elem(&sockets, &socket, &connection_new, BPF_NOEXIST)) {
		counters->seen++;
		counters->lost_map_full++;
		__sync_fetch_and_add(&untracked, 1);
		return NULL;
	}
	connection = connection_of(socket);
	if (!connection)
		return NULL;
	connection->connect_ns = connection->accept_ns = DURATION_UNKNOWN;
	connection->begun_ns = now_ns;
	counters->begun++;
	return connection;
}

/* One that was open before we were there, or whose begin the kernel did not show us. */
static __always_inline struct connection *connection_add_old(struct tcp_counters *counters, u64 socket, u64 now_ns)
{
	struct connection *connection = connection_add(counters, socket, now_ns);

	if (connection) {
		connection->before = volume_of((const void *)socket);
		connection->begun_before = true;
		connection->is_established = true;
		counters->begun_before++;
	}
	return connection;
}

static __always_inline bool selects_owners(void)
{
	return only_pid || only_followed || only_cgroup || only_comm || pidns_inum;
}

/* Note whose it is. The ownership comes last: who sees it may use the rest. */
static __always_inline void connection_own(struct connection *connection, const struct process *process, bool is_selected)
{
	connection->process_start_ns = process->start_ns;
	connection->pid = process->pid;
	read_comm(connection->comm, process->task);
	barrier();
	connection->ownership = is_selected ? OWNER_IS_SELECTED : OWNER_IS_FILTERED;
}

static __always_inline void connection_own_current(struct connection *connection)
{
	struct process process = current_process();

	connection_own(connection, &process, is_selected(&process) && is_selected_now(&process));
}

static __always_inline bool has_port_between(const struct endpoints *ends, u16 first, u16 last)
{
	return (first <= ends->local_port && ends->local_port <= last) ||
	       (first <= ends->peer_port && ends->peer_port <= last);
}

static __always_inline bool ends_are_selected(const struct endpoints *ends)
{
	if (only_ip_version && only_ip_version != (is_ipv4(ends) ? 4 : 6))
		return false;
	if (!only_ports[0])
		return true;
	for (u32 at = 0; at < 2 * PORTS_MAX && only_ports[at]; at += 2) {
		if (has_port_between(ends, only_ports[at], only_ports[at + 1]))
			return true;
	}
	return false;
}

/* Whether it counts, now that its owner is known or never will be. */
static __always_inline bool connection_is_selected(const struct connection *connection)
{
	if (connection->ownership == OWNER_UNKNOWN ? selects_owners() : connection->ownership != OWNER_IS_SELECTED)
		return false;
	if (only_failed && connection->is_established)
		return false;
	return ends_are_selected(&connection->endpoints);
}

#endif
