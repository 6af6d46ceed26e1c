/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The document's program for good design (section 1.4.1): bounds, errors, atomics, little logic.
 *
 * It reads nothing of its context, so it takes no type for it. The document checks data and data_end there, which a
 * tracepoint's context does not have (they are of packets): that does not compile. Such a context has bounds all the
 * same: the verifier knows how far a program reads into it, and the kernel refuses to attach one that reads beyond the
 * tracepoint's record (perf_event_set_bpf_prog(), EACCES).
 */
#include "kernel.h"

/* By pid alone: this program belongs to one tracepoint, which its name and its section say. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} syscall_count SEC(".maps");

/* What found the map full; the document drops it. */
u64 syscalls_other;

SEC("tracepoint/syscalls/sys_enter_openat")
int trace_syscall_openat_safe(void *ctx)
{
	/* 1. The process, in a local variable. */
	u32 pid = bpf_get_current_pid_tgid() >> 32;
	u64 one = 1;
	/* 2. Every pointer from a map is checked: the verifier rejects a program that does not. */
	u64 *count = bpf_map_lookup_elem(&syscall_count, &pid);

	if (!count) {
		/*
		 * 3. A new entry, and what may go wrong with it. BPF_NOEXIST fails when another thread was faster; the
		 * document stops there and loses the call. Look up again, and it is there.
		 */
		if (!bpf_map_update_elem(&syscall_count, &pid, &one, BPF_NOEXIST))
			return 0;
		count = bpf_map_lookup_elem(&syscall_count, &pid);
	}
	/* 4. Atomic: other CPUs may be adding to the same entry. Nothing there now: the map is full. */
	__sync_fetch_and_add(count ? count : &syscalls_other, 1);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
