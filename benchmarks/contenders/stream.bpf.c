// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* A record of 16 bytes for each getppid, into a ring of 16 MB; what finds no room is counted. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile long getppid = 110;

struct record {
	__u64 time_ns;
	__u64 process_thread;
};

const struct record *const volatile ring__record;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} ring SEC(".maps");

/* Programs on system calls of one CPU do not interrupt each other before Linux 7; those of two need an atomic. */
__u64 seen, lost;

SEC("tp_btf/sys_enter")
int stream(__u64 *context)
{
	struct record *record;

	if ((long)context[1] != getppid)
		return 0;
	__sync_fetch_and_add(&seen, 1);
	record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);
	if (!record) {
		__sync_fetch_and_add(&lost, 1);
		return 0;
	}
	record->time_ns = bpf_ktime_get_ns();
	record->process_thread = bpf_get_current_pid_tgid();
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
	return 0;
}
