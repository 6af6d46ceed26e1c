/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The document's program for speed (section 1.4.2): sample, count per CPU, use local variables.
 */
#include "kernel.h"

/*
 * One call in so many is looked at, and stands for so many: the counts are estimates, at the rate that this knob says.
 * 1 looks at every call, and the counts are exact.
 */
const volatile u32 sample_factor = 100;

/*
 * Each CPU has its own count: no two write to the same memory, and plain additions are exact. Whoever reads adds the
 * CPUs up. (The document uses this map without declaring it.)
 */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u64);
} per_cpu_count SEC(".maps");

/* What found the map full, an estimate as well; the document drops it. */
u64 syscalls_other;

SEC("tracepoint/syscalls/sys_enter_openat")
int trace_syscall_openat_optimized(void *ctx)
{
	u64 *count, stands_for = sample_factor;
	u32 pid;

	/*
	 * Before anything else, so that a call which is not looked at costs next to nothing. The document samples by
	 * pid % 100: that follows one process in a hundred, and never sees the others at all. And at random: every
	 * hundredth call would always be the same one of a program that makes its calls in turn. (A multiplication, which
	 * is as random as a division and faster: the product's upper half is 0 for one number in sample_factor.)
	 */
	if (sample_factor > 1 && (u64)bpf_get_prandom_u32() * sample_factor >> 32)
		return 0;

	pid = bpf_get_current_pid_tgid() >> 32;
	count = bpf_map_lookup_elem(&per_cpu_count, &pid);
	if (!count) {
		/* As in trace_syscall.bpf.c: another CPU may have been faster, or the map is full. */
		if (!bpf_map_update_elem(&per_cpu_count, &pid, &stands_for, BPF_NOEXIST))
			return 0;
		count = bpf_map_lookup_elem(&per_cpu_count, &pid);
	}
	if (count)
		*count += stands_for;
	else
		__sync_fetch_and_add(&syscalls_other, stands_for);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
