/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Values that belong to sockets, cgroups and inodes, which Python names by their descriptors. */
#include "shape.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u64);
} by_socket SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_CGRP_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, u32);
} by_cgroup SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_INODE_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, char[8]);
} by_inode SEC(".maps");

/* Adds one for the socket that sent the packet. */
SEC("cgroup_skb/egress")
int sent(struct __sk_buff *skb)
{
	struct bpf_sock *socket = skb->sk;
	u64 *value;

	if (!socket)
		return 1;
	socket = bpf_sk_fullsock(socket);
	if (!socket)
		return 1;
	value = bpf_sk_storage_get(&by_socket, socket, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (value)
		__sync_fetch_and_add(value, 1);
	return 1;
}
