// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * How long threads are off their CPUs, in which stacks, and why.
 *
 * A block begins when a thread leaves its CPU, blocked or preempted, and ends when it has one again (offcpu_switched). That it
 * was woken meanwhile, and by whom, is noted by offcpu_waking. offcpu_begin finds the threads that are blocked when the run
 * begins; offcpu_walk makes what is known of a thread for those without a fork that is told, and counts at the end those that
 * are still blocked. All but these two also load as raw tracepoints.
 */
#include "followed.bpf.h"
#include "switched.bpf.h"
#include "unfollowed.bpf.h"
#include "walked.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
