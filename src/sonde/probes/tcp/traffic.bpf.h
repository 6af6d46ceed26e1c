/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The tables processes and peers: connections and their bytes, those of open connections too. TCP counts by itself, so
 * nothing runs here for a packet: before the table is read iterators walk over the connections and add what is new.
 *
 * A connection is counted once and its bytes are, though its end and the walk meet on two CPUs. Who first puts it into
 * the map adopted counts it. If that is its end, all is added there and then, and the walk keeps its hands off. If it is
 * the walk, then only walks add what it brings, and its end leaves its totals behind for the next one. There is one
 * walk at a time: the table's reader's.
 */
#ifndef SONDE_TCP_TRAFFIC_BPF_H
#define SONDE_TCP_TRAFFIC_BPF_H

#include "connection.bpf.h"

struct processes_key {
	sonde_boottime_ns_t process_start_ns;
	sonde_pid_t pid;
	u32 padding;
};

struct peers_key {
	sonde_address_t peer_address[16];
	/* Of the side that was asked for the connection; of one that began before us the lower one. */
	u16 port;
	sonde_tcp_direction_t direction;
	u8 padding[5];
};
_Static_assert(sizeof(struct peers_key) == 24, "hidden padding");

union traffic_key {
	struct processes_key process;
	struct peers_key peer;
	u64 words[3];
};

struct traffic_row {
	u64 connects;
	u64 accepts;
	/* Those whose begin was not seen. */
	u64 older;
	u64 failed;
	u64 resets;
	u64 closed;
	u64 sent_bytes;
	u64 received_bytes;
	u64 retransmits;
	/* The smoothed round-trip times of connections at each reading and at their end, where they have new ones. */
	u64 rtt_sum_ns;
	u64 rtt_count;
	sonde_first_ns_t first_seen_ns;
	sonde_comm_t comm[COMM_LENGTH];
};
_Static_assert(sizeof(struct traffic_row) == 112, "hidden padding");

#define TRAFFIC_TABLE(name, key_type)                                                                                  \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                       \
		__uint(max_entries, ROWS_MAX);                                                                         \
		__type(key, key_type);                                                                                 \
		__type(value, struct traffic_row);                                                                     \
	} name SEC(".maps");                                                                                           \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                               \
		__uint(max_entries, 1);                                                                                \
		__type(key, u32);                                                                                      \
		__type(value, struct traffic_row);                                                                     \
	} name##_other SEC(".maps")

TRAFFIC_TABLE(processes, struct processes_key);
TRAFFIC_TABLE(peers, struct peers_key);

/* A connection by its socket and its begin: the next one of that socket is another. */
struct adopted_key {
	u64 socket;
	u64 begun_ns;
};

struct adopted {
	union traffic_key key;
	/* What walks have added: they alone write it. */
	struct volume counted;
	/* What its end left behind. */
	struct volume total;
	u8 begin;
	/* Put there by a walk; else it is only the mark of an end that adds all by itself. */
	u8 is_walked;
	u8 has_failed;
	u8 was_reset;
	u8 has_ended;
	u8 padding[3];
	char comm[COMM_LENGTH];
};

/* As many as can be open, and as many that have ended since the last walk: so it is never full. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 2 * CONNECTIONS_MAX);
	__type(key, struct adopted_key);
	__type(value, struct adopted);
} adopted SEC(".maps");

static const struct traffic_row traffic_row_new;
static const struct adopted adopted_new;

/* The key's rest is zero. */
static __always_inline void traffic_key(union traffic_key *key, const struct connection *connection,
					const struct endpoints *ends)
{
	if (output == OUTPUT_PROCESSES) {
		key->process.process_start_ns = connection->process_start_ns;
		key->process.pid = connection->pid;
		return;
	}
	key->words[0] = ends->peer.halves[0];
	key->words[1] = ends->peer.halves[1];
	key->peer.direction = connection->direction;
	if (connection->direction == DIRECTION_UNKNOWN)
		key->peer.port = ends->peer_port < ends->local_port ? ends->peer_port : ends->local_port;
	else
		key->peer.port = connection->direction == DIRECTION_CONNECT ? ends->peer_port : ends->local_port;
}

static __always_inline struct traffic_row *traffic_find(const union traffic_key *key, const char *comm, void *table,
							void *rest)
{
	struct traffic_row *row = bpf_map_lookup_elem(table, key);
	u32 other = 0;
	bool is_ours;

	if (row)
		return row;
	is_ours = bpf_map_update_elem(table, key, &traffic_row_new, BPF_NOEXIST) == 0;
	row = bpf_map_lookup_elem(table, key);
	if (!row)
		return bpf_map_lookup_elem(rest, &other);
	if (is_ours) {
		row->first_seen_ns = bpf_ktime_get_ns();
		__builtin_memcpy(row->comm, comm, COMM_LENGTH);
	}
	return row;
}

static __always_inline struct traffic_row *traffic_row_of(const union traffic_key *key, const char *comm)
{
	if (output == OUTPUT_PROCESSES)
		return traffic_find(key, comm, MAP_HERE(processes), MAP_HERE(processes_other));
	return traffic_find(key, comm, MAP_HERE(peers), MAP_HERE(peers_other));
}

enum begin { BEGIN_CONNECT, BEGIN_ACCEPT, BEGIN_UNSEEN };

static __always_inline enum begin begin_of(const struct connection *connection)
{
	if (connection->begun_before)
		return BEGIN_UNSEEN;
	return connection->direction == DIRECTION_CONNECT ? BEGIN_CONNECT : BEGIN_ACCEPT;
}

static __always_inline void traffic_add_begin(struct traffic_row *row, enum begin begin)
{
	if (begin == BEGIN_UNSEEN)
		__sync_fetch_and_add(&row->older, 1);
	else if (begin == BEGIN_CONNECT)
		__sync_fetch_and_add(&row->connects, 1);
	else
		__sync_fetch_and_add(&row->accepts, 1);
}

static __always_inline void traffic_add_volume(struct traffic_row *row, const struct volume *before,
					       const struct volume *now)
{
	__sync_fetch_and_add(&row->sent_bytes, now->sent_bytes - before->sent_bytes);
	__sync_fetch_and_add(&row->received_bytes, now->received_bytes - before->received_bytes);
	__sync_fetch_and_add(&row->retransmits, now->retransmits - before->retransmits);
	/* What is idle has no new one. */
	if (now->rtt && (now->rtt != before->rtt || now->sent_bytes != before->sent_bytes)) {
		__sync_fetch_and_add(&row->rtt_sum_ns, rtt_ns(now->rtt));
		__sync_fetch_and_add(&row->rtt_count, 1);
	}
}

static __always_inline void traffic_add_end(struct traffic_row *row, bool has_failed, bool was_reset)
{
	__sync_fetch_and_add(&row->closed, 1);
	if (has_failed)
		__sync_fetch_and_add(&row->failed, 1);
	if (was_reset)
		__sync_fetch_and_add(&row->resets, 1);
}

/* A connection's end. True where it is counted here, false where a walk has counted it before. */
static __always_inline bool traffic_ends(u64 socket, const struct connection *connection)
{
	struct adopted_key at = { socket, connection->begun_ns };
	struct adopted *adopted_before;
	union traffic_key key = {};
	struct traffic_row *row;
	bool is_first;

	traffic_key(&key, connection, &connection->endpoints);
	/*
	 * Not by the error's number: before Linux 6.4 (d7f10df86202) its upper half is undefined, and later kernels may
	 * say EBUSY where the walk was interrupted on this CPU.
	 */
	is_first = bpf_map_update_elem(MAP_HERE(adopted), &at, &adopted_new, BPF_NOEXIST) == 0;
	adopted_before = is_first ? NULL : bpf_map_lookup_elem(MAP_HERE(adopted), &at);
	if (!adopted_before || !adopted_before->is_walked) {
		row = traffic_row_of(&key, connection->comm);
		if (row) {
			traffic_add_begin(row, begin_of(connection));
			traffic_add_volume(row, &connection->before, &connection->total);
			traffic_add_end(row, !connection->is_established, connection->resets != 0);
		}
		return true;
	}
	adopted_before->total = connection->total;
	adopted_before->has_failed = !connection->is_established;
	adopted_before->was_reset = connection->resets != 0;
	barrier();
	adopted_before->has_ended = true;
	return false;
}

/* After the socket is forgotten: a walk that comes now finds neither. */
static __always_inline void traffic_forget(u64 socket, u64 begun_ns)
{
	struct adopted_key at = { socket, begun_ns };

	bpf_map_delete_elem(MAP_HERE(adopted), &at);
}

struct bpf_iter__bpf_map_elem {
	void *meta;
	void *map;
	void *key;
	void *value;
};

/* The connection of that begin at a socket; NULL once it is forgotten. */
static __always_inline const struct connection *connection_at(const struct adopted_key *at)
{
	const struct connection *connection = connection_of(at->socket);

	return connection && connection->begun_ns == at->begun_ns ? connection : NULL;
}

/*
 * Take charge of a connection; NULL where its end was first. An end that finds us in charge leaves its totals here before
 * it forgets the socket; so if the socket is forgotten and there are none, that end has added all, and we came too late.
 */
static __always_inline struct adopted *traffic_adopt(const struct adopted_key *at, const struct adopted *fresh)
{
	struct adopted *mine;

	if (bpf_map_update_elem(MAP_HERE(adopted), at, fresh, BPF_NOEXIST))
		return NULL;
	mine = bpf_map_lookup_elem(MAP_HERE(adopted), at);
	if (!mine || connection_at(at))
		return mine;
	barrier();
	if (*(volatile u8 *)&mine->has_ended)
		return mine;
	bpf_map_delete_elem(MAP_HERE(adopted), at);
	return NULL;
}

static __always_inline struct adopted *traffic_first_walk(struct tcp_counters *counters, const struct adopted_key *at,
							  const struct connection *connection,
							  const struct endpoints *ends)
{
	struct adopted fresh = {}, *mine;
	struct traffic_row *row;

	traffic_key(&fresh.key, connection, ends);
	fresh.counted = connection->before;
	fresh.begin = begin_of(connection);
	fresh.is_walked = true;
	__builtin_memcpy(fresh.comm, connection->comm, COMM_LENGTH);
	mine = traffic_adopt(at, &fresh);
	if (!mine)
		return NULL;
	counters->seen++;
	counters->ended++;
	row = traffic_row_of(&mine->key, mine->comm);
	if (row)
		traffic_add_begin(row, mine->begin);
	return mine;
}

/* Of an open connection what is new since the last walk. */
SEC("iter/bpf_map_elem")
int count_live(struct bpf_iter__bpf_map_elem *ctx)
{
	const struct connection *connection;
	struct tcp_counters *counters;
	struct endpoints ends = {};
	struct adopted_key at = {};
	const u64 *key = ctx->key;
	struct traffic_row *row;
	struct adopted *mine;
	struct volume now;

	if (!key || !active || only_failed)
		return 0;
	at.socket = *key;
	counters = tcp_counters_of(PROGRAM_LIVE);
	connection = connection_of(at.socket);
	if (!counters || !connection || connection->ownership != OWNER_IS_SELECTED)
		return 0;
	at.begun_ns = connection->begun_ns;
	now = volume_of((const void *)at.socket);
	read_endpoints(&ends, (const void *)at.socket);
	if (!ends_are_selected(&ends))
		return 0;
	/* The socket may be another's by now. If the connection is there and open, what was read is its. */
	connection = connection_at(&at);
	if (!connection || connection->has_ended)
		return 0;
	mine = bpf_map_lookup_elem(MAP_HERE(adopted), &at);
	if (!mine)
		mine = traffic_first_walk(counters, &at, connection, &ends);
	if (!mine || !mine->is_walked)
		return 0;
	row = traffic_row_of(&mine->key, mine->comm);
	if (row)
		traffic_add_volume(row, &mine->counted, &now);
	mine->counted = now;
	return 0;
}

/* Of a connection that a walk has counted before, what came after that. */
SEC("iter/bpf_map_elem")
int count_ended(struct bpf_iter__bpf_map_elem *ctx)
{
	struct adopted_key at = {};
	struct traffic_row *row;
	struct adopted *mine;

	if (!ctx->key)
		return 0;
	__builtin_memcpy(&at, ctx->key, sizeof(at));
	mine = bpf_map_lookup_elem(MAP_HERE(adopted), &at);
	if (!mine || !mine->has_ended)
		return 0;
	row = traffic_row_of(&mine->key, mine->comm);
	if (row) {
		traffic_add_volume(row, &mine->counted, &mine->total);
		traffic_add_end(row, mine->has_failed, mine->was_reset);
	}
	bpf_map_delete_elem(MAP_HERE(adopted), &at);
	return 0;
}

#endif
