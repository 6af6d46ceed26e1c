/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The stream connections: each one when it has ended. */
#ifndef SONDE_TCP_CONNECTIONS_BPF_H
#define SONDE_TCP_CONNECTIONS_BPF_H

#include "connection.bpf.h"
#include "stream.bpf.h"

struct connection_record {
	/* When it ended. */
	sonde_time_ns_t time_ns;
	/* From SYN to ESTABLISHED, and from ESTABLISHED until accept() gave it to the process. */
	sonde_duration_ns_t connect_ns;
	sonde_duration_ns_t accept_ns;
	/* From SYN (of one that was accepted: from ESTABLISHED) to the end. */
	sonde_duration_ns_t lifetime_ns;
	sonde_duration_ns_t rtt_ns;
	sonde_boottime_ns_t process_start_ns;
	u64 sent_bytes;
	u64 received_bytes;
	sonde_address_t local_address[16];
	sonde_address_t peer_address[16];
	u32 retransmits;
	sonde_pid_t pid;
	sonde_reset_reason_t reset_reason;
	u16 local_port;
	u16 peer_port;
	sonde_errno_t error;
	sonde_tcp_direction_t direction;
	sonde_tcp_reset_t reset;
	bool begun_before;
	bool is_established;
	u8 padding[2];
	sonde_comm_t comm[COMM_LENGTH];
};
_Static_assert(sizeof(struct connection_record) == 136, "hidden padding");

/* 15,000 connections between two reads. */
RECORD_STREAM(connections, struct connection_record, 2 << 20);

static __always_inline void connection_record(struct tcp_counters *counters, const struct connection *connection)
{
	struct connection_record *record;

	if (!stream_has_room(&connections_turn, connection->ended_ns)) {
		counters->lost_rate++;
		return;
	}
	record = bpf_ringbuf_reserve(&connections, sizeof(*record), 0);
	if (!record) {
		counters->lost_ring_full++;
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = connection->ended_ns;
	record->connect_ns = connection->connect_ns;
	record->accept_ns = connection->accept_ns;
	record->lifetime_ns = connection->begun_before ? DURATION_UNKNOWN :
							 connection->ended_ns - connection->begun_ns;
	record->rtt_ns = connection->total.rtt ? rtt_ns(connection->total.rtt) : DURATION_UNKNOWN;
	record->process_start_ns = connection->process_start_ns;
	record->sent_bytes = connection->total.sent_bytes - connection->before.sent_bytes;
	record->received_bytes = connection->total.received_bytes - connection->before.received_bytes;
	record->retransmits = connection->total.retransmits - connection->before.retransmits;
	__builtin_memcpy(record->local_address, &connection->endpoints.local, sizeof(record->local_address));
	__builtin_memcpy(record->peer_address, &connection->endpoints.peer, sizeof(record->peer_address));
	record->local_port = connection->endpoints.local_port;
	record->peer_port = connection->endpoints.peer_port;
	record->pid = connection->pid;
	record->reset_reason = connection->reset_reason;
	record->error = connection->error;
	record->direction = connection->direction;
	record->reset = connection->resets;
	record->begun_before = connection->begun_before;
	record->is_established = connection->is_established;
	__builtin_memcpy(record->comm, connection->comm, COMM_LENGTH);
	stream_submit(&connections, record, sizeof(*record));
}

#endif
