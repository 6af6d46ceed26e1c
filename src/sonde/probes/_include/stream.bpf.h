/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Streams: records in a ring buffer. The pointer NAME__record tells Python, by its BTF type, which struct the records
 * are (a ring buffer that declares its value's type is refused by the kernel).
 */
#ifndef SONDE_STREAM_BPF_H
#define SONDE_STREAM_BPF_H

#include "kernel.bpf.h"

enum { NS_PER_SECOND = 1000000000 };

#define RECORD_STREAM(name, record, size_bytes)                                                                        \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_RINGBUF);                                                                    \
		__uint(max_entries, size_bytes);                                                                       \
	} name SEC(".maps");                                                                                           \
	struct {                                                                                                       \
		__uint(type, BPF_MAP_TYPE_HASH);                                                                       \
		__uint(max_entries, 1);                                                                                \
		__type(key, u32);                                                                                      \
		__type(value, u32);                                                                                    \
	} name##_turn SEC(".maps");                                                                                    \
	const record *const volatile name##__record

/* What the ring buffer adds to each record. */
enum { RECORD_HEADER_BYTES = 8 };

/*
 * The reader comes by itself every few milliseconds, and waking it costs more than the record. So it is woken once, when
 * the ring has become a quarter full. Records of several CPUs may pass the mark together: there are eight chances.
 */
static __always_inline u64 stream_wakeup(void *ring, u64 record_bytes)
{
	u64 mark = bpf_ringbuf_query(ring, BPF_RB_RING_SIZE) / 4;
	u64 waiting = bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA);
	u64 above = waiting - mark;

	return above < 8 * (record_bytes + RECORD_HEADER_BYTES) ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP;
}

static __always_inline void stream_submit(void *ring, void *record, u64 record_bytes)
{
	bpf_ringbuf_submit(record, stream_wakeup(ring, record_bytes));
}

/* At most so many records a second, over all CPUs; 0: no bound. May be changed at any time: it holds from the next second. */
volatile u64 rate_max;

/* Records for which there was room, and how many there may be until this second ends. */
static volatile u64 rate_taken, rate_ceiling, rate_until_ns;

/*
 * Begin another second. Only one CPU may, or records would be counted twice against the rate: it is the one that gets
 * its entry into the map turn. (Exchanging a value needs Linux 5.12; locks are not for tracing programs.)
 */
static __always_inline void rate_begin_second(void *turn, u64 now_ns)
{
	u32 key = 0;

	if (bpf_map_update_elem(turn, &key, &key, BPF_NOEXIST))
		return;
	if (now_ns >= rate_until_ns) {
		rate_ceiling = rate_taken + rate_max;
		rate_until_ns = now_ns + NS_PER_SECOND;
	}
	bpf_map_delete_elem(turn, &key);
}

/*
 * Whether there is room for a record in this second; where not it is lost, cause rate. The second begins with the first
 * record after the last one's end. Nothing is set back, so nothing can be set back too late: of those that add one to
 * the records taken and find no more than the ceiling there are as many as there is room, and who is above writes nothing.
 */
static __always_inline bool stream_has_room(void *turn, u64 now_ns)
{
	if (likely(!rate_max))
		return true;
	if (now_ns >= rate_until_ns)
		rate_begin_second(turn, now_ns);
	/* Another CPU is about to begin the first second. */
	if (unlikely(!rate_until_ns))
		return true;
	if (rate_taken >= rate_ceiling)
		return false;
	__sync_fetch_and_add(&rate_taken, 1);
	return rate_taken <= rate_ceiling;
}

#endif
