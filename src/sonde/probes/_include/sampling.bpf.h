/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * Taking some events only. Two factors, and an event is taken if both take it:
 *
 * sample_every is a knob, the same from start to end. What it leaves out is sampled_out for good, and Python says of every
 * total what one counted event stands for (RecordBatch.scale).
 *
 * thin_every may be changed at any time, so a total cannot be multiplied afterwards. Instead an event that is taken
 * stands for itself and for those that were left out before it, on its CPU since the last one that was taken: it counts
 * that many times, wherever it counts. So totals add up to what was seen, whatever the factor was and when; only which
 * row it is counted in is an estimate. thinned_out are those that none stands for yet, represented those that one does.
 */
#ifndef SONDE_SAMPLING_BPF_H
#define SONDE_SAMPLING_BPF_H

#include "kernel.bpf.h"
#include "knob.bpf.h"

KNOB(u32, sample_every, 1, "take one event in so many, chosen at random");

/* 0 and 1: all events. */
volatile u32 thin_every;

static __always_inline bool is_sampled_out(void)
{
	return sample_every > 1 && bpf_get_prandom_u32() % sample_every;
}

/*
 * Whether the event of this number, on this CPU, is left out: by its number, mixed (the two multiplications of
 * splitmix64), since a random number from the helper costs as much as a count. Taking each eighth would be wrong: of
 * what goes round in a loop it is always the same step, and where an event is taken at its beginning and counted at its
 * end, one that takes long would stand for too many.
 */
static __always_inline bool is_thinned_out(u64 number)
{
	u64 every = thin_every;

	if (likely(every <= 1))
		return false;
	number *= 0x9E3779B97F4A7C15ULL;
	number ^= number >> 30;
	number *= 0xBF58476D1CE4E5B9ULL;
	return (number >> 32) * every >> 32;
}

/* How often an event counts that is taken. The counters are the program's own on this CPU (accounting.bpf.h). */
static __always_inline u64 event_weight(u64 *thinned_out, u64 *represented)
{
	u64 left_out = *thinned_out;

	if (unlikely(left_out)) {
		*thinned_out = 0;
		*represented += left_out;
	}
	return 1 + left_out;
}

#endif
