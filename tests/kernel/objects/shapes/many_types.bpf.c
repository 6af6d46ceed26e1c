/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Programs of many types in one object; some of them are only loaded when somebody asks for it. */
#include "shape.h"

u64 runs[16];

static __always_inline int count(u32 which, int verdict)
{
	if (which < 16)
		__sync_fetch_and_add(&runs[which], 1);
	return verdict;
}

SEC("tc")
int on_tc(struct __sk_buff *skb)
{
	return count(0, TC_ACT_OK);
}

SEC("xdp")
int on_xdp(struct xdp_md *ctx)
{
	return count(1, XDP_PASS);
}

SEC("socket")
int on_socket(struct __sk_buff *skb)
{
	return count(2, skb->len);
}

SEC("raw_tp/sys_enter")
int on_raw_tp(void *ctx)
{
	return count(3, 0);
}

SEC("tracepoint/syscalls/sys_enter_getppid")
int on_tracepoint(void *ctx)
{
	return count(4, 0);
}

SEC("cgroup_skb/ingress")
int on_cgroup(struct __sk_buff *skb)
{
	return count(5, 1);
}

SEC("perf_event")
int on_perf_event(void *ctx)
{
	return count(6, 0);
}

SEC("cgroup/bind4")
int on_bind(struct bpf_sock_addr *ctx)
{
	return count(7, 1);
}

SEC("sk_lookup")
int on_lookup(struct bpf_sk_lookup *ctx)
{
	return count(8, SK_PASS);
}

SEC("flow_dissector")
int on_flow(struct __sk_buff *skb)
{
	return count(9, 129 /* BPF_FLOW_DISSECTOR_CONTINUE */);
}

SEC("?tp_btf/sys_enter")
int when_asked(void *ctx)
{
	return count(10, 0);
}

/* Does not load: there is no such tracepoint. It is in the way of nobody who does not ask for it. */
SEC("?tp_btf/never_was")
int never(void *ctx)
{
	return count(11, 0);
}
