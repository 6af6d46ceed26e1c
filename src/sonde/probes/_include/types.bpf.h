/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Types that say what a field means. Python reads the typedef's name from BTF: it names the column's meaning, and
 * enrichment follows from it (sonde_errno_t 2 becomes ENOENT). Records are flat, widest field first, no hidden padding;
 * a member whose name begins with "padding" fills a hole and is no column.
 */
#ifndef SONDE_TYPES_BPF_H
#define SONDE_TYPES_BPF_H

#include <linux/types.h>
#include <stdbool.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

enum { COMM_LENGTH = 16 };

/* Nanoseconds of CLOCK_MONOTONIC (bpf_ktime_get_ns) and of CLOCK_BOOTTIME (what the kernel notes at fork). */
typedef u64 sonde_time_ns_t;
typedef u64 sonde_boottime_ns_t;
typedef u64 sonde_duration_ns_t;
/* The earliest of many, and the largest: added up over rows they stay what they are. */
typedef u64 sonde_first_ns_t;
typedef u64 sonde_max_ns_t;
/* The smallest of many durations, which are 1 ns at least; 0: of none. */
typedef u64 sonde_min_ns_t;
/* The latest moment of many (bpf_ktime_get_ns): NAME_ns gives the time NAME. */
typedef u64 sonde_last_ns_t;
/* The number of a row's cell, whose counters per CPU are added to the row's; 0: none. Not a column. */
typedef u32 sonde_cell_t;
/* A count per bucket of a histogram of durations; histogram.bpf.h has the scale and the unit. */
typedef u64 sonde_bucket_t;

/* Process and thread as sonde's own pid namespace numbers them; the name is the process's, not the thread's. */
typedef u32 sonde_pid_t;
typedef u32 sonde_tid_t;
typedef char sonde_comm_t;

/* A system call's number as the kernel got it; what it means depends on the ABI and the machine. */
typedef u32 sonde_syscall_t;
typedef u8 sonde_abi_t;
typedef u64 sonde_argument_t;
typedef s64 sonde_result_t;
/* 0 is no error; 512 and above are the kernel's internal results (ERESTARTSYS, …). */
typedef u16 sonde_errno_t;

/* A network interface's number, 0 for none; its name is added where it is read. */
typedef u32 sonde_ifindex_t;
/* 0 in, 1 out. */
typedef u8 sonde_direction_t;
/* 4 or 6; 0: it is no IP. */
typedef u8 sonde_ip_version_t;
/* What a frame carries, as enrich/protocol_name.py numbers it: an IP protocol, an EtherType, or why it is not known. */
typedef u16 sonde_protocol_t;
/* The flags of TCP's header that were seen: added up over rows they are all of them. */
typedef u64 sonde_tcp_flags_t;

/* A user as the kernel numbers it, outside of user namespaces; a cgroup within its hierarchy, of which 0 is version 2's. */
typedef u32 sonde_uid_t;
typedef u64 sonde_cgroup_id_t;
typedef u32 sonde_hierarchy_t;
/* An address of IPv6, or of IPv4 as ::ffff:a.b.c.d, as on the wire. */
typedef u8 sonde_address_t;
/* An address in the kernel's code; named NAME_ip, it gives the function NAME. */
typedef u64 sonde_kernel_ip_t;
/*
 * The number of a stack, made of its addresses: stack.bpf.h. 0: there is none. Python gives the names of both together as
 * the column stack.
 */
typedef u64 sonde_user_stack_t;
typedef u64 sonde_kernel_stack_t;
/* The scheduler's state of a thread that is off its CPU, its lowest bits: enrich/block_reason.py has the words. */
typedef u8 sonde_task_state_t;
/* A thread's own name. */
typedef char sonde_thread_name_t;
/* A record's last member, an array without a length: a text that is as long as the record is. */
typedef char sonde_text_t;

#define DURATION_UNKNOWN (~0ULL)

#endif
