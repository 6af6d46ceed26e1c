// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Each program keeps the number that it was attached with. */
#include "counter.h"

__u64 cookie = 0;

static __always_inline int keep(void *context)
{
	if (bpf_get_current_pid_tgid() >> 32 == target)
		cookie = bpf_get_attach_cookie(context);
	return 0;
}

SEC("?tracepoint")
int at_tracepoint(void *context)
{
	return keep(context);
}

SEC("?raw_tp")
int at_raw_tp(void *context)
{
	return keep(context);
}

SEC("?tp_btf")
int at_tp_btf(void *context)
{
	return keep(context);
}

SEC("?fentry")
int at_fentry(void *context)
{
	return keep(context);
}

SEC("?kprobe")
int at_kprobe(void *context)
{
	return keep(context);
}

SEC("?kprobe.multi")
int at_kprobe_multi(void *context)
{
	return keep(context);
}

SEC("?uprobe")
int at_uprobe(void *context)
{
	return keep(context);
}

SEC("?uprobe.multi")
int at_uprobe_multi(void *context)
{
	return keep(context);
}

SEC("?perf_event")
int at_perf_event(void *context)
{
	return keep(context);
}
