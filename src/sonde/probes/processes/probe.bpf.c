// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Processes: that begin, run a program, and end.
 *
 * Three outputs, of which an object loads one: the table events, the table lifetimes, the stream lifecycle; a map named
 * OUTPUT_… belongs to that output. process_fork follows children, and their exits end that. All programs also load as raw
 * tracepoints: the context is the same array, and what it points to is reached by probe reads only.
 */
#include "events.bpf.h"
#include "followed.bpf.h"
#include "lifecycle.bpf.h"
#include "lifetimes.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
