/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* A value with a lock in it: several members change together. */
#include "shape.h"

struct account {
	struct bpf_spin_lock lock;
	u32 owner;
	s64 balance;
	u64 changes;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16);
	__type(key, u32);
	__type(value, struct account);
} accounts SEC(".maps");

SEC("tc")
int pay_in(struct __sk_buff *skb)
{
	u32 owner = skb->mark;
	struct account *account = bpf_map_lookup_elem(&accounts, &owner);

	if (!account)
		return TC_ACT_SHOT;
	bpf_spin_lock(&account->lock);
	account->balance += skb->len;
	account->changes++;
	bpf_spin_unlock(&account->lock);
	return TC_ACT_OK;
}
