// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * Packets that the kernel drops: why, where, and which.
 *
 * Two outputs, of which an object loads one: the table counts, the stream packets. The hook is skb:kfree_skb, the end of
 * an skb that did not reach its aim; the others end in consume_skb. Both programs also load as raw tracepoints: the
 * context is the same array, and the knob is_typed says how the skb is read.
 */
#include "counts.bpf.h"
#include "packets.bpf.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";
