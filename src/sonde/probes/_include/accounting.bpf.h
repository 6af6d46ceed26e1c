/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * The kernel's side of seen = delivered + aggregated + filtered + sampled_out + lost, per output. The counters are the
 * members of a struct of u64, by name: seen, filtered, sampled_out, lost_CAUSE; begun and ended (in flight is their
 * difference); any other is a note beside the equation.
 *
 * Each program has an entry of its own, per CPU, and adds to it without atomics. That is exact: up to Linux 6.18 such
 * programs run with preemption off, and since they may be preempted (tracepoints of system calls, 7.x) the kernel does
 * not start a program on a CPU where it runs already (05b24ff9b2cf: it counts that as recursion_misses). Two different
 * programs can interleave on a CPU, which is why they do not share an entry. Python adds up all entries and CPUs.
 */
#ifndef SONDE_ACCOUNTING_BPF_H
#define SONDE_ACCOUNTING_BPF_H

#include "kernel.bpf.h"

#define ACCOUNTING(output, counters, programs)                                                                         \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);                                                               \
		__uint(max_entries, programs);                                                                         \
		__type(key, u32);                                                                                      \
		__type(value, counters);                                                                               \
	} output##_accounting SEC(".maps")

#endif
