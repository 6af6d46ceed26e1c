/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Compiled without -g, so without BTF: there are programs and globals, but nobody knows their types. */
#include "shape.h"

const volatile u32 step = 5;
u64 runs = 7;

SEC("tc")
int count(struct __sk_buff *skb)
{
	runs += step;
	return TC_ACT_OK;
}
