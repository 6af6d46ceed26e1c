/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Tail calls through an array of programs: two slots filled by the compiler, two empty. */
#include "shape.h"

int first(struct __sk_buff *skb);
int second(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 4);
	__uint(key_size, sizeof(u32));
	__array(values, int(struct __sk_buff *));
} targets SEC(".maps") = {
	.values = { [0] = &first, [1] = &second },
};

SEC("tc")
int first(struct __sk_buff *skb)
{
	return 11;
}

SEC("tc")
int second(struct __sk_buff *skb)
{
	return 13;
}

SEC("tc")
int third(struct __sk_buff *skb)
{
	return 17;
}

/* The packet's mark chooses; 7 where that slot is empty. */
SEC("tc")
int entry(struct __sk_buff *skb)
{
	bpf_tail_call(skb, &targets, skb->mark);
	return 7;
}
