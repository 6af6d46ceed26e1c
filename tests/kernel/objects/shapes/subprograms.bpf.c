/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Functions: inlined, static, global (which the verifier checks by themselves), one calling the other. */
#include "shape.h"

u64 calls;

static __noinline u32 half(u32 number)
{
	__sync_fetch_and_add(&calls, 1);
	return number / 2;
}

__noinline int quarter(struct __sk_buff *skb, int number)
{
	if (!skb)
		return 0;
	__sync_fetch_and_add(&calls, 1);
	return half(half(number));
}

static __always_inline u32 eighth(struct __sk_buff *skb, u32 number)
{
	return half(quarter(skb, number));
}

SEC("tc")
int divide(struct __sk_buff *skb)
{
	return eighth(skb, skb->mark);
}

SEC("tc")
int divide_less(struct __sk_buff *skb)
{
	return quarter(skb, skb->mark);
}
