// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* One program for each way that a section names its place, and for those that name none. */
#include "counter.h"

#define PROGRAM(name, section)                                                                              \
	SEC(section) int name(void *context)                                                                \
	{                                                                                                   \
		count();                                                                                    \
		return 0;                                                                                   \
	}

PROGRAM(as_tracepoint, "?tracepoint/syscalls/sys_enter_getppid")
PROGRAM(as_tp, "?tp/syscalls/sys_enter_getppid")
PROGRAM(as_raw_tp, "?raw_tp/task_rename")
PROGRAM(as_raw_tracepoint, "?raw_tracepoint/task_rename")
PROGRAM(as_tp_btf, "?tp_btf/task_rename")
PROGRAM(as_uprobe, "?uprobe/libc.so.6:getppid")
PROGRAM(as_uretprobe, "?uretprobe/libc.so.6:getppid")
PROGRAM(as_uprobe_multi, "?uprobe.multi/libc.so.6:getppi*")
PROGRAM(as_kprobe, "?kprobe/security_task_getpgid")
PROGRAM(as_kretprobe, "?kretprobe/security_task_getpgid")
PROGRAM(as_ksyscall, "?ksyscall/getppid")
PROGRAM(as_kprobe_multi, "?kprobe.multi/security_task_getpgi*")
PROGRAM(as_fentry, "?fentry/security_task_getpgid")
PROGRAM(as_fexit, "?fexit/security_task_getpgid")
PROGRAM(as_lsm, "?lsm/task_getpgid")

/* These are never attached. */
#define BARE(name, section)                                                                                 \
	SEC(section) int name(void *context)                                                                \
	{                                                                                                   \
		__sync_fetch_and_add(&runs, 1);                                                             \
		return 1;                                                                                   \
	}

BARE(bare_xdp, "?xdp")
BARE(bare_tc, "?tc")
BARE(bare_tcx, "?tcx/ingress")
BARE(bare_cgroup, "?cgroup_skb/egress")
BARE(bare_perf_event, "?perf_event")
BARE(bare_uprobe, "?uprobe")
BARE(bare_kprobe, "?kprobe")
BARE(bare_tracepoint, "?tracepoint")
BARE(bare_raw_tp, "?raw_tp")
BARE(bare_socket, "?socket")
