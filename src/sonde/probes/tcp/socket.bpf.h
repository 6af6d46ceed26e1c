/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* What the kernel's sockets tell of a TCP connection: its state, its addresses, its counters. */
#ifndef SONDE_TCP_SOCKET_BPF_H
#define SONDE_TCP_SOCKET_BPF_H

#include "kernel.bpf.h"
#include <bpf/bpf_endian.h>

enum {
	FAMILY_IPV4 = 2,
	FAMILY_IPV6 = 10,
	PROTOCOL_TCP = 6,
	PROTOCOL_MPTCP = 262,
	MODE_TYPE = 0170000,
	MODE_SOCKET = 0140000,
};

/* include/net/tcp_states.h; the numbers are in the kernel's interface to user space, too (sock_diag). */
enum tcp_state {
	STATE_ESTABLISHED = 1,
	STATE_SYN_SENT,
	STATE_SYN_RECV,
	STATE_FIN_WAIT1,
	STATE_FIN_WAIT2,
	STATE_TIME_WAIT,
	STATE_CLOSE,
	STATE_CLOSE_WAIT,
	STATE_LAST_ACK,
	STATE_LISTEN,
	STATE_CLOSING,
	STATE_NEW_SYN_RECV,
};

static __always_inline bool is_tcp(const struct sock *sk)
{
	return BPF_CORE_READ(sk, sk_protocol) == PROTOCOL_TCP;
}

/* An address as 16 bytes, in words that compare and copy as a whole. */
union address {
	u8 bytes[16];
	u16 shorts[8];
	u32 words[4];
	u64 halves[2];
};

/* Addresses as 16 bytes, those of IPv4 mapped into IPv6; ports in the machine's order. */
struct endpoints {
	union address local;
	union address peer;
	u16 local_port;
	u16 peer_port;
};

/* A connection over IPv4, whichever family its socket is of. */
static __always_inline bool is_ipv4(const struct endpoints *ends)
{
	return !ends->peer.halves[0] && ends->peer.words[2] == bpf_htonl(0xffff);
}

static __always_inline void read_endpoints(struct endpoints *to, const struct sock *sk)
{
	u16 family = BPF_CORE_READ(sk, __sk_common.skc_family);

	/* skc_num is 0 when a connection has ended; inet_sport stays (__inet_put_port). */
	to->local_port = bpf_ntohs(BPF_CORE_READ((const struct inet_sock *)sk, inet_sport));
	to->peer_port = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	if (family == FAMILY_IPV6 && bpf_core_field_exists(sk->__sk_common.skc_v6_daddr)) {
		bpf_probe_read_kernel(&to->local, sizeof(to->local), &sk->__sk_common.skc_v6_rcv_saddr);
		bpf_probe_read_kernel(&to->peer, sizeof(to->peer), &sk->__sk_common.skc_v6_daddr);
		return;
	}
	to->local.halves[0] = to->peer.halves[0] = 0;
	to->local.words[2] = to->peer.words[2] = bpf_htonl(0xffff);
	to->local.words[3] = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	to->peer.words[3] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
}

/*
 * What TCP itself counts, from the socket's birth on: bytes that the other side has acknowledged, and bytes that arrived in
 * order, as ss shows them. SYN and FIN take a place in the order of bytes, and one of each is counted with them.
 */
struct volume {
	u64 sent_bytes;
	u64 received_bytes;
	u32 retransmits;
	/* In eighths of a microsecond; 0 while nothing was measured. */
	u32 rtt;
};

static __always_inline struct volume volume_of(const struct sock *sk)
{
	const struct tcp_sock *tcp = (const void *)sk;

	return (struct volume){
		.sent_bytes = BPF_CORE_READ(tcp, bytes_acked),
		.received_bytes = BPF_CORE_READ(tcp, bytes_received),
		.retransmits = BPF_CORE_READ(tcp, total_retrans),
		.rtt = BPF_CORE_READ(tcp, srtt_us),
	};
}

static __always_inline u64 rtt_ns(u32 rtt)
{
	return (u64)(rtt >> 3) * 1000;
}

struct mptcp_sock {
	const struct sock *first;
} KERNEL_TYPE;

/*
 * The TCP socket of an open file; NULL where it is none. A file of another kind has another private_data. MPTCP's is not
 * TCP's own: it has one for each path, of which the first is the one that was connected or accepted.
 */
static __always_inline const struct sock *tcp_of_file(const struct file *file)
{
	const struct socket *socket;
	const struct sock *sk;
	u16 protocol;

	if (!file || (BPF_CORE_READ(file, f_inode, i_mode) & MODE_TYPE) != MODE_SOCKET)
		return NULL;
	socket = BPF_CORE_READ(file, private_data);
	/* A socket's place in a directory, opened with O_PATH, has none. */
	sk = socket && BPF_CORE_READ(socket, file) == file ? BPF_CORE_READ(socket, sk) : NULL;
	if (!sk)
		return NULL;
	protocol = BPF_CORE_READ(sk, sk_protocol);
	if (protocol == PROTOCOL_MPTCP && bpf_core_field_exists(struct mptcp_sock, first))
		return BPF_CORE_READ((const struct mptcp_sock *)sk, first);
	return protocol == PROTOCOL_TCP ? sk : NULL;
}

#endif
