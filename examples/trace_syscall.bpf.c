/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The document's first program (section 1.3.1): count a system call, per process.
 *
 * Made for openat, and attached by sonde.Collector to any sys_enter_... tracepoint.
 */
#include "kernel.h"

/*
 * The record of every syscalls/sys_enter_... tracepoint, as its format file in tracefs shows it. Declared here, because
 * <linux/bpf.h> does not: the document uses the type without it. The number is an int; the kernel's type of this name,
 * which is that of raw_syscalls/sys_enter, has a long in its place.
 */
struct trace_event_raw_sys_enter {
	u64 common;
	int number;
	u64 arguments[6];
};

/*
 * Keyed by system call, too. In the document one program is attached to four tracepoints and counts by pid alone, so
 * that read and openat cannot be told apart.
 */
struct process_syscall {
	u32 pid;
	u32 syscall;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct process_syscall);
	__type(value, u64);
} syscall_count SEC(".maps");

/* What found the map full. The document ignores the failed update, and such calls are gone without a trace. */
u64 syscalls_other;

SEC("tracepoint/syscalls/sys_enter_openat")
int trace_syscall_openat(struct trace_event_raw_sys_enter *ctx)
{
	struct process_syscall key = { .pid = bpf_get_current_pid_tgid() >> 32, .syscall = ctx->number };
	u64 *count = bpf_map_lookup_elem(&syscall_count, &key);
	u64 one = 1;

	if (!count) {
		/*
		 * Two threads may both have found nothing. With BPF_ANY, as in the document, the second would set the
		 * count back to one; with BPF_NOEXIST it fails, and adds to what the first has put there.
		 */
		if (!bpf_map_update_elem(&syscall_count, &key, &one, BPF_NOEXIST))
			return 0;
		count = bpf_map_lookup_elem(&syscall_count, &key);
	}
	/* (*count)++, as in the document, reads and then writes: of two threads' calls at once, only one would count. */
	__sync_fetch_and_add(count ? count : &syscalls_other, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
