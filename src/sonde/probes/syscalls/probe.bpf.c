// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * What processes ask of the kernel: system calls by process, call and error.
 *
 * Three outputs, of which an object loads one: the table counts (count_enter), the table latency (latency_enter,
 * latency_exit), the stream calls (stream_enter, stream_exit); a map named OUTPUT_… belongs to that output.
 * process_fork and process_exit follow children; task_exit goes with starts_by_task. All programs also load as raw
 * tracepoints: the context is the same array, and registers are reached by probe reads only.
 */
#include "calls.bpf.h"
#include "counts.bpf.h"
#include "followed.bpf.h"
#include "latency.bpf.h"
#include "unfollowed.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
