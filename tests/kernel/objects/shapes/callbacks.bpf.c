/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Functions that the kernel calls back: over the entries of a map (Linux 5.13), in a loop (5.17), at a time (5.15). */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 7);
	__type(key, u32);
	__type(value, u64);
} numbers SEC(".maps");

struct alarm {
	struct bpf_timer timer;
	u32 number;
	u32 rest;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct alarm);
} alarms SEC(".maps");

u64 sum;
u64 turns;
u64 rung;

static long add(void *map, const u32 *key, u64 *value, u64 *total)
{
	*total += *value;
	return 0;
}

static long turn(u32 index, u64 *count)
{
	*count += 1;
	return 0;
}

static int ring(void *map, u32 *key, struct alarm *alarm)
{
	rung += alarm->number;
	return 0;
}

SEC("tc")
int run(struct __sk_buff *skb)
{
	u64 total = 0, count = 0;

	bpf_for_each_map_elem(&numbers, add, &total, 0);
	bpf_loop(skb->mark, turn, &count, 0);
	sum = total;
	turns = count;
	return TC_ACT_OK;
}

SEC("tc")
int set_alarm(struct __sk_buff *skb)
{
	u32 zero = 0;
	struct alarm *alarm = bpf_map_lookup_elem(&alarms, &zero);

	if (!alarm || bpf_timer_init(&alarm->timer, &alarms, 1 /* CLOCK_MONOTONIC */))
		return TC_ACT_SHOT;
	alarm->number = skb->mark;
	return bpf_timer_set_callback(&alarm->timer, ring) || bpf_timer_start(&alarm->timer, 1000000, 0);
}
