// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One program for each hook that any kernel of this project has; the section names no place where the hook does. */
#include "counter.h"

#define TC_ACT_UNSPEC (-1)

SEC("?tracepoint")
int at_tracepoint(void *context)
{
	count();
	return 0;
}

SEC("?raw_tp")
int at_raw_tp(void *context)
{
	count();
	return 0;
}

SEC("?tp_btf")
int at_tp_btf(void *context)
{
	count();
	return 0;
}

SEC("?kprobe")
int at_kprobe(void *context)
{
	count();
	return 0;
}

SEC("?kprobe.multi")
int at_kprobe_multi(void *context)
{
	count();
	return 0;
}

SEC("?uprobe")
int at_uprobe(void *context)
{
	count();
	return 0;
}

SEC("?uprobe.multi")
int at_uprobe_multi(void *context)
{
	count();
	return 0;
}

SEC("?fentry")
int at_fentry(void *context)
{
	count();
	return 0;
}

SEC("?fexit")
int at_fexit(void *context)
{
	count();
	return 0;
}

SEC("?fmod_ret")
int at_fmod_ret(void *context)
{
	count();
	return 0;
}

SEC("?lsm")
int at_lsm(void *context)
{
	count();
	return 0;
}

SEC("?perf_event")
int at_perf_event(void *context)
{
	count();
	return 0;
}

SEC("?xdp")
int at_xdp(struct xdp_md *context)
{
	__sync_fetch_and_add(&runs, 1);
	return XDP_PASS;
}

SEC("?tc")
int at_tc(struct __sk_buff *context)
{
	__sync_fetch_and_add(&runs, 1);
	return TC_ACT_UNSPEC;
}

SEC("?cgroup_skb/egress")
int at_cgroup(struct __sk_buff *context)
{
	__sync_fetch_and_add(&runs, 1);
	return 1;
}

SEC("?iter/task")
int at_iter(void *context)
{
	__sync_fetch_and_add(&runs, 1);
	return 0;
}

SEC("?tracepoint/syscalls/sys_enter_getppid")
int at_section(void *context)
{
	count();
	return 0;
}

/* A second one of each kind that a link can be updated to: it counts a thousand. */
SEC("?xdp")
int at_xdp_other(struct xdp_md *context)
{
	__sync_fetch_and_add(&runs, 1000);
	return XDP_PASS;
}

SEC("?tc")
int at_tc_other(struct __sk_buff *context)
{
	__sync_fetch_and_add(&runs, 1000);
	return TC_ACT_UNSPEC;
}

SEC("?cgroup_skb/egress")
int at_cgroup_other(struct __sk_buff *context)
{
	__sync_fetch_and_add(&runs, 1000);
	return 1;
}

SEC("?iter/task")
int at_iter_other(void *context)
{
	__sync_fetch_and_add(&runs, 1000);
	return 0;
}
