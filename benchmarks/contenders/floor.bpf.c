// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* What the benchmarks measure against, and what fills the buffers that they empty. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The floor: what any program on this hook costs. */
SEC("tp_btf/sys_enter")
int floor_enter(void *context)
{
	return 0;
}

SEC("tp_btf/sys_exit")
int floor_exit(void *context)
{
	return 0;
}

/* The same where processes begin, run a program, and end. */
SEC("tp_btf/sched_process_fork")
int floor_fork(void *context)
{
	return 0;
}

SEC("tp_btf/sched_process_exec")
int floor_exec(void *context)
{
	return 0;
}

SEC("tp_btf/sched_process_exit")
int floor_process_exit(void *context)
{
	return 0;
}

/* The same where TCP connections change their state, and where their sockets end. */
SEC("tp_btf/inet_sock_set_state")
int floor_state(void *context)
{
	return 0;
}

SEC("tp_btf/tcp_destroy_sock")
int floor_destroyed(void *context)
{
	return 0;
}

/* The same where a card hands a packet to the kernel. */
SEC("xdp")
int floor_xdp(void *context)
{
	return XDP_PASS;
}

/* The same where a packet is dropped. */
SEC("tp_btf/kfree_skb")
int floor_drop(void *context)
{
	return 0;
}

/* The same where a CPU goes from one thread to another, and where a thread is woken. */
SEC("tp_btf/sched_switch")
int floor_switch(void *context)
{
	return 0;
}

SEC("tp_btf/sched_wakeup")
int floor_wakeup(void *context)
{
	return 0;
}

SEC("tp_btf/sched_waking")
int floor_waking(void *context)
{
	return 0;
}

/* The same where a disk is asked for something, and where it has answered. */
SEC("tp_btf/block_rq_issue")
int floor_issue(void *context)
{
	return 0;
}

SEC("tp_btf/block_rq_complete")
int floor_complete(void *context)
{
	return 0;
}

/* The same where a CPU's clock has ticked. */
SEC("perf_event")
int floor_tick(void *context)
{
	return 0;
}

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 16 * 1024 * 1024);
} ring SEC(".maps");

struct record {
	__u64 time_ns;
	__u64 number;
};

const struct record *const volatile ring__record;

#define RECORDS_PER_RUN 4096

/* Writes records of 16 bytes; returns how many found room. */
SEC("syscall")
int fill_ring(void *context)
{
	int written = 0;

	for (int i = 0; i < RECORDS_PER_RUN; i++) {
		struct record record = { .number = i };

		written += bpf_ringbuf_output(&ring, &record, sizeof(record), BPF_RB_NO_WAKEUP) == 0;
	}
	return written;
}

struct key {
	__u64 start_ns;
	__u32 pid;
	__u32 number;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 200000);
	__type(key, struct key);
	__type(value, __u64);
} table SEC(".maps");
