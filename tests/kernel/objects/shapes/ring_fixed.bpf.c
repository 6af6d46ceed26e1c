/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A ring of one page with records of one size, and the program's own count of what found it full. */
#include "shape.h"

struct record {
	u64 number;
	u32 length;
	u16 half;
	u16 rest;
};

/* So that BTF holds the type: nothing else mentions it but as a pointer's target. */
struct record *record_type __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

u64 written;
u64 dropped;
u64 discarded;

static __always_inline int write_one(u32 length)
{
	struct record *record = bpf_ringbuf_reserve(&ring, sizeof(*record), 0);

	if (!record) {
		__sync_fetch_and_add(&dropped, 1);
		return 1;
	}
	record->number = written;
	record->length = length;
	record->half = length / 2;
	record->rest = 0;
	if (length == 61) {
		/* Space that was taken and given up: the consumer steps over it. */
		discarded++;
		bpf_ringbuf_discard(record, 0);
		return 0;
	}
	__sync_fetch_and_add(&written, 1);
	bpf_ringbuf_submit(record, 0);
	return 0;
}

SEC("tc")
int write(struct __sk_buff *skb)
{
	return write_one(skb->len);
}

/* The storm: one system call, as often as this process makes it. */
const volatile u32 target;
const volatile u64 syscall;

SEC("raw_tp/sys_enter")
int storm(u64 *ctx)
{
	if (bpf_get_current_pid_tgid() >> 32 == target && ctx[1] == syscall)
		write_one(0);
	return 0;
}
