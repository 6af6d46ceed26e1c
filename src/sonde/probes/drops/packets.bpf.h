/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* The stream packets: each drop, with the packet's addresses and ports. */
#ifndef SONDE_DROPS_PACKETS_BPF_H
#define SONDE_DROPS_PACKETS_BPF_H

#include "drop.bpf.h"
#include "stream.bpf.h"

ACCOUNTING(packets, struct drop_counters, 1);

struct packet_record {
	sonde_time_ns_t time_ns;
	sonde_kernel_ip_t function_ip;
	u64 bytes;
	sonde_address_t source_address[16];
	sonde_address_t destination_address[16];
	sonde_drop_reason_t reason;
	sonde_netns_t netns_id;
	/* As its namespace numbers it, which may not be ours: so the name comes along. */
	u32 ifindex;
	sonde_protocol_t protocol;
	/* In the machine's order; 0 and has_ports 0 where there are none. */
	u16 source_port;
	u16 destination_port;
	sonde_ip_version_t ip_version;
	bool has_ports;
	u8 tcp_flags;
	u8 padding[7];
	sonde_interface_name_t interface[INTERFACE_LENGTH];
};
_Static_assert(sizeof(struct packet_record) == 104, "hidden padding");

/* 9,000 drops between two reads. */
RECORD_STREAM(packets, struct packet_record, 1 << 20);

static __always_inline void read_transport(const struct drop *drop, const struct headers *headers,
					   struct packet_record *record)
{
	u16 protocol = headers->protocol;
	u16 ports[2];

	if (!headers->transport_at ||
	    (protocol != PROTOCOL_TCP && protocol != PROTOCOL_UDP && protocol != PROTOCOL_UDPLITE &&
	     protocol != PROTOCOL_SCTP && protocol != PROTOCOL_DCCP))
		return;
	if (!read_header(drop, headers->transport_at, ports, sizeof(ports)))
		return;
	record->has_ports = true;
	record->source_port = bpf_ntohs(ports[0]);
	record->destination_port = bpf_ntohs(ports[1]);
	if (protocol == PROTOCOL_TCP)
		read_header(drop, headers->transport_at + 13, &record->tcp_flags, sizeof(record->tcp_flags));
}

static __always_inline void packet_add(struct drop_counters *counters, struct drop *drop)
{
	struct packet_record *record;
	u64 now_ns = bpf_ktime_get_ns();
	struct headers headers;

	if (!stream_has_room(&packets_turn, now_ns)) {
		counters->lost_rate++;
		return;
	}
	complete_drop(drop);
	read_headers(drop, &headers);
	record = bpf_ringbuf_reserve(&packets, sizeof(*record), 0);
	if (!record) {
		counters->lost_ring_full++;
		return;
	}
	__builtin_memset(record, 0, sizeof(*record));
	record->time_ns = now_ns;
	record->function_ip = drop->function_ip;
	record->bytes = drop->bytes;
	__builtin_memcpy(record->source_address, &headers.source, sizeof(headers.source));
	__builtin_memcpy(record->destination_address, &headers.destination, sizeof(headers.destination));
	record->reason = drop->reason;
	record->netns_id = drop->netns;
	record->ifindex = drop->ifindex;
	record->ip_version = drop->ip_version;
	record->protocol = headers.protocol;
	read_transport(drop, &headers, record);
	if (drop->device)
		bpf_probe_read_kernel_str(record->interface, sizeof(record->interface), &drop->device->name);
	stream_submit(&packets, record, sizeof(*record));
}

SEC("tp_btf/kfree_skb")
int packets_drop(u64 *ctx)
{
	struct drop_counters *counters;
	u32 program = 0;
	struct drop drop;

	if (!active)
		return 0;
	counters = bpf_map_lookup_elem(&packets_accounting, &program);
	if (!counters)
		return 0;
	counters->seen++;
	read_drop(&drop, ctx);
	if (drop_is_selected(&drop))
		packet_add(counters, &drop);
	else
		counters->filtered++;
	return 0;
}

#endif
