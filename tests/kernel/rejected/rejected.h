/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the rejected programs need of the kernel, declared by hand: no headers have to be installed. */
#ifndef SONDE_REJECTED_H
#define SONDE_REJECTED_H

typedef unsigned char __u8;
typedef unsigned int __u32;
typedef unsigned long long __u64;

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

#define MAP_TYPE_HASH 1
#define MAP_TYPE_ARRAY 2
#define MAP_TYPE_RINGBUF 27

static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;

static __u64 (*const bpf_ktime_get_ns)(void) = (void *)5;
static __u32 (*const bpf_get_prandom_u32)(void) = (void *)7;
static __u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static long (*const bpf_probe_read_kernel)(void *to, __u32 size, const void *from) = (void *)113;
static void *(*const bpf_ringbuf_reserve)(void *ring, __u64 size, __u64 flags) = (void *)131;

#ifndef REJECTED_LICENSE
#define REJECTED_LICENSE "Dual BSD/GPL"
#endif
char LICENSE[] SEC("license") = REJECTED_LICENSE;

#endif
