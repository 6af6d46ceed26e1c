/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Streams: records in a ring buffer. The pointer NAME__record tells Python, by its BTF type, which struct the records
 * are (a ring buffer that declares its value's type is refused by the kernel).
 */
#ifndef SONDE_STREAM_BPF_H
#define SONDE_STREAM_BPF_H

#include "kernel.bpf.h"

#define RECORD_STREAM(name, record, size_bytes)                                                                        \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                                    \
		__uint(max_entries, size_bytes);                                                                       \
	} name SEC(".maps");                                                                                           \
	const record *const volatile name##__record

/* What the ring buffer adds to each record. */
enum { RECORD_HEADER_BYTES = 8 };

/*
 * The reader comes by itself every few milliseconds, and waking it costs more than the record. So it is woken once, when
 * the ring has become a quarter full. Records of several CPUs may pass the mark together: there are eight chances.
 */
static __always_inline void stream_submit(void *ring, void *record, u64 record_bytes)
{
	u64 mark = bpf_ringbuf_query(ring, BPF_RB_RING_SIZE) / 4;
	u64 waiting = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	u64 above = waiting - mark;

	bpf_ringbuf_submit(record, above < 8 * (record_bytes + RECORD_HEADER_BYTES) ? BPF_RB_FORCE_WAKEUP :
										      BPF_RB_NO_WAKEUP);
}

#endif
