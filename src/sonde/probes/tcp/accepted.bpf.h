/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Who accepts, by the kernel's own function. This program is the first of the object: programs are loaded in order, and
 * where this kind is forbidden that is known at once.
 */
#ifndef SONDE_TCP_ACCEPTED_BPF_H
#define SONDE_TCP_ACCEPTED_BPF_H

#include "connection.bpf.h"

/* owners.bpf.h */
static __always_inline void connection_is_accepted(struct tcp_counters *counters, u64 socket);

struct proto_accept_arg___6_10 {
	bool kern;
} KERNEL_TYPE;

/*
 * Since Linux 6.10 (92ef0fd55ac8: "net: change proto and proto_ops accept type") it has two arguments, and had four
 * before; the result comes behind them.
 */
SEC("fexit/inet_csk_accept")
int accept_returned(u64 *ctx)
{
	struct tcp_counters *counters;
	u64 socket;

	if (!active)
		return 0;
	/* With the barriers it stays two loads, and is not one from an address that is computed: that no verifier takes. */
	if (bpf_core_field_exists(struct proto_accept_arg___6_10, kern)) {
		socket = ctx[2];
		barrier_var(socket);
	} else {
		socket = ctx[4];
		barrier_var(socket);
	}
	counters = tcp_counters_of(PROGRAM_ACCEPT);
	if (counters && socket && is_tcp((const void *)socket))
		connection_is_accepted(counters, socket);
	return 0;
}

#endif
